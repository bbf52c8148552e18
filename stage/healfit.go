package stage

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/resident"
)

// healFit is how healing is made to fit into memory.
type healFit struct {
	resident.Fit
	tapes bool // what layers computed is kept for their backward pass
	group int  // most tokens in flight
}

// need is what healing wants memory for: of a micro-batch where layers stay, of as
// much of a step as fits where they pass by.
func (j *healJob) need(tapes bool) resident.Need {
	longest := 0
	for _, s := range j.data.train {
		longest = max(longest, len(s.Tokens))
	}
	micro := max(j.options.MicroTokens, longest)
	depths := len(j.kept) - max(0, j.chosen.Low)
	n := resident.Need{
		Layers: j.kept, Head: true, Tokens: int64(max(micro, longest*j.options.BatchSize)), Longest: micro, Batch: micro,
		States: depths + 2, Backward: true, Trained: j.chosen.Parameters(j.Rank),
	}
	if tapes {
		n.Tapes, n.Tokens = depths, int64(micro)
	}
	if j.chosen.Low < 0 { // what the embedding's gradient is made of waits for the last micro-batch
		n.Holds = resident.HoldAlways(int64(longest*j.options.BatchSize) * int64(j.s.Model.Spec.Hidden) * 4)
	}
	return n
}

// arrange decides how healing fits into memory, or says what would. In order of
// speed: layers stay and keep what they computed; they pass by once each way, with that
// of a whole step kept; it is computed anew, for as many tokens at a time as fit.
func (j *healJob) arrange() error {
	j.parts = j.residents(j.s.Model, nil)
	kept, anew := j.need(true), j.need(false)
	j.fit = healFit{Fit: j.parts.Plan(kept), tapes: true}
	if j.fit.Over || !j.fit.Keep {
		kept.Tokens = anew.Tokens
		j.fit.Fit = j.parts.Plan(kept)
	}
	if j.fit.Over || !j.fit.Keep && int64(j.fit.Tokens) < anew.Tokens {
		j.fit = healFit{Fit: j.parts.Plan(anew)}
	}
	j.fit.group = j.fit.Tokens
	if j.fit.Keep {
		j.fit.group = anew.Longest
	}
	if !j.fit.Over {
		return nil
	}
	peak, may := j.fit.Peak.Host, j.parts.Budget().Host
	holds := max(0, j.s.memory-may) // by the process already, which is in the bound, too
	p := failed("{memory}: healing needs %s beside the %s that the process holds, and %s may be used", report.FormatBytes(peak), report.FormatBytes(holds), report.FormatBytes(j.s.memory))
	needs := fmt.Sprintf("%dMiB", (peak+holds)*21/20>>20+1) // what the process holds is never the same twice
	switch {
	case j.Method == heal.Full:
		return p.with("pass {memory} %s, or {method} partial", needs)
	case j.options.MicroTokens > 512:
		return p.with("pass {memory} %s, or a smaller {micro_batch_tokens}", needs)
	}
	return p.with("pass {memory} %s", needs)
}

// residents are the parts of a model within what is left of the process's memory.
func (j *healJob) residents(m *model.Model, trained *engine.Trained) *resident.Set {
	o := bounded(forest.Options{}, j.s.memory)
	return resident.New(m, j.s.Engine, resident.Options{Budget: resident.Budget{Host: o.Memory, Device: o.DeviceMemory}, Trained: trained, Heap: o.Heap})
}

// estimate says what healing will take, and asks.
func (j *healJob) estimate(ctx context.Context, r *heal.Run) error {
	trained := j.chosen.Parameters(j.Rank)
	of := j.s.Model.Spec.Parameters() - int64(j.s.Model.Spec.Layers-len(j.kept))*j.s.Model.Spec.LayerParameters()
	layers := "layers stay in memory"
	if !j.fit.Keep {
		layers = "layers stream through"
	}
	states := "what they compute is kept"
	if !j.fit.tapes {
		states = "what they compute is computed again"
	}
	j.env.Talk.Note("%s: trains %d of %d parameters (%.2f %%), %s of %s; up to %s of memory (%s, %s), %s of disk",
		j.Method, trained, of, 100*float64(trained)/float64(of), report.Plural(j.options.Steps, "step"), report.Plural(j.options.BatchSize, "sample"),
		report.FormatBytes(j.fit.Peak.Host), layers, states, report.FormatBytes(j.disk(trained)))
	done := 0
	if st, _, err := heal.Resumable(j.dir.state(), j.identity); err == nil && st != nil {
		done = st.Step
		j.env.Talk.Note("going on after step %d of %d", done, j.options.Steps)
	}
	cost, err := r.Measure(ctx)
	if err != nil {
		return err
	}
	return j.env.Talk.Consent(ctx, Estimate{What: "healing", Time: r.Total(cost, done)})
}

// disk is what checkpoints and result take.
func (j *healJob) disk(trained int64) int64 {
	n := trained * 12 * int64(j.options.KeepCheckpoints+1)
	if j.Method == heal.LoRA {
		return n + trained*4
	}
	for _, w := range j.s.Model.Spec.TopWeights() {
		n += w.Elements() * j.width(w)
	}
	for _, i := range j.kept {
		for _, w := range j.s.Model.Spec.LayerWeights(i) {
			n += w.Elements() * j.width(w)
		}
	}
	return n + trained*4
}

// width is the bytes of a value of a tensor as it is written.
func (j *healJob) width(w model.Weight) int64 {
	t, ok := j.s.Model.Source.Tensor(w.Name)
	if j.SaveDType == "float32" || !ok {
		return 4
	}
	return int64(t.DType.Size())
}
