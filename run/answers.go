package run

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// atOnce is about how many answers that are made together take the time of one.
const atOnce = 8

// answers adds the stage in which the whole model answers the rows of healing, and
// gives the rows with its answers.
func (w *way) answers(h Heal, d stage.TrainData) (*Stage, stage.TrainData, error) {
	if len(d.Sources) != 1 || d.Tokens != "" || d.ValidationData != "" {
		return nil, d, fmt.Errorf("heal.data.answers: are of one source of texts, without held-out rows of their own")
	}
	of := *h.Data.Answers
	v := stage.DefaultGenerate()
	v.Model, v.MaxTokens, v.Temperature, v.Seed = w.m.dir, cmp.Or(of.MaxTokens, d.MaxLength), of.Temperature, w.t.Seed
	v.Data, v.Schema, v.Map, v.Samples, v.Questions.Template = d.Sources[0], d.Schema, d.Map, d.Samples, d.Template
	dense := &way{b: w.b, t: w.t, m: w.m}
	dense.engineInto(&v.Engine)
	s := dense.measurement(rundir.KindAnswers, rundir.Dense, doAnswers)
	for k, value := range map[string]string{
		"from": w.b.material.identity(v.Data), "schema": v.Schema, "map": fmt.Sprint(v.Map), "samples": strconv.Itoa(v.Samples), "template": v.Questions.Template,
		"answers": fmt.Sprintf("%d tokens, temperature %v", v.MaxTokens, v.Temperature),
	} {
		s.Inputs["heal.data."+k] = value
	}
	if v.Temperature > 0 || v.Samples > 0 {
		s.seed(w.t.Seed)
	}
	rows := w.rowsOf(d)
	s.spec, s.Work = v, dense.decodeWork(rows.Rows*v.MaxTokens/atOnce)
	s.Work.Disk, s.Work.Guessed = int64(rows.Tokens*8), true
	s = w.b.graph.add(s)
	if !slices.Contains(w.refs, s.ref(rundir.KindAnswers)) {
		s = w.add(rundir.KindAnswers, s)
	}
	d.Sources, d.Schema, d.Map, d.Samples = []string{s.Dir + "/" + rundir.AnswersFile}, "", nil, 0
	if d.Template == templateAlpaca { // its words are in the prompts by now
		d.Template = ""
	}
	return s, d, nil
}

const templateAlpaca = "alpaca"

// rowsOf is the extent of the rows that are trained on.
func (w *way) rowsOf(d stage.TrainData) stage.Extent {
	x := w.rowsOfAll(d)
	if n := d.Samples; n > 0 && n < x.Rows {
		share := float64(n) / float64(x.Rows)
		x.Rows, x.Tokens, x.Scored = n, share*x.Tokens, share*x.Scored
	}
	return x
}

func doAnswers(c *call, stages []*Stage) error {
	s := stages[0]
	v := s.spec.(stage.Generate)
	v.Out = c.file(s, rundir.AnswersFile)
	c.engine(&v.Engine)
	r, err := v.Answer(c.ctx, c.env)
	if err != nil {
		return err
	}
	if r.OutOfTokens > 0 {
		c.env.Talk.Note("%s of %d ran out of tokens", report.Plural(r.OutOfTokens, "answer"), r.Rows)
	}
	s.result = result{compute: &r.Compute, tokens: int64(r.Tokens), seconds: r.Seconds}
	return nil
}
