package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/internal/journal"
	"github.com/coppice-ml/coppice/internal/wholefile"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Questions are the rows of a data set that a model answers, into a new training set.
type Questions struct {
	Data     string   `yaml:"data"`     // rows: a file, a directory, or a data set of the hub
	Schema   string   `yaml:"schema"`   // one of data.Schemas; "": recognised by its columns
	Map      []string `yaml:"map"`      // names of columns where they are not the schema's
	Template string   `yaml:"template"` // alpaca, chat (the model's own) or a chat template; "": chat
	Samples  int      `yaml:"samples"`  // rows, drawn by seed; 0: all
	Out      string   `yaml:"out"`      // file of rows for the answers, .jsonl
	Force    bool     `yaml:"force"`    // start over
}

// check finds what can be wrong before any file is opened.
func (q Questions) check() error {
	switch {
	case q.Out == "":
		return wrong("{out}: where should the answers go?").with("pass {out} with a new .jsonl file")
	case !strings.HasSuffix(q.Out, ".jsonl"):
		return wrong("{out} %s: answers are written as .jsonl", q.Out)
	case q.Samples < 0:
		return wrong("{samples} %d: want at least 1", q.Samples)
	}
	if _, err := data.ParseRenames(q.Map); err != nil {
		return wrong("{map}: %w", err)
	}
	if q.Schema != "" {
		var names []string
		for _, s := range data.Schemas() {
			names = append(names, string(s))
		}
		if err := oneOf("schema", q.Schema, names...); err != nil {
			return err
		}
	}
	return Writable("out", q.Out)
}

// settingsFile is beside a finished file of answers, and says how it was made.
func (q Questions) settingsFile() string { return q.Out + ".settings.json" }

// answered is what settingsFile holds.
type answered struct {
	Settings map[string]string `json:"settings"`
	Done     report.Generated  `json:"done"`
}

// answers is one bulk generation on its way.
type answers struct {
	Generate
	env      Env
	s        *Session
	t        *tokenizer.Tokenizer
	asked    []question
	skipped  int // rows whose prompts leave no room
	stopIDs  []int
	settings map[string]string
	kept     map[int]answerLine
	begun    map[int]*answering
	journal  *journal.Journal
	start    time.Time
}

// answerLine is a finished answer, in the journal.
type answerLine struct {
	Seq    int    `json:"seq"`
	Text   string `json:"text"`
	Tokens int    `json:"tokens"`
	Finish string `json:"finish"`
}

// answering is the text of an answer on its way.
type answering struct {
	text *generate.Text
	said strings.Builder
}

// Answer answers the rows of a data set, many at once, and writes them with their
// answers. What was finished before is gone on with.
func (g Generate) Answer(ctx context.Context, env Env) (*report.Generated, error) {
	g.Tokens = "" // neither is given
	if err := errors.Join(g.numbers(), g.Questions.check()); err != nil {
		return nil, err
	}
	s, err := Open(ctx, env, g.Model, g.Layers)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	a := &answers{Generate: g, env: env, s: s, kept: map[int]answerLine{}, begun: map[int]*answering{}, start: time.Now()}
	if a.t, err = tokenizer.Load(s.Checkpoint.Dir()); err != nil {
		return nil, wantTokenizer(err)
	}
	if a.stopIDs, err = g.stop(s, a.t); err != nil {
		return nil, err
	}
	if err := a.read(ctx); err != nil {
		return nil, err
	}
	if err := s.Start(g.Engine, nil); err != nil {
		return nil, err
	}
	if err := a.describe(ctx); err != nil {
		return nil, err
	}
	if done, err := a.finished(); done != nil || err != nil {
		return done, err
	}
	return a.run(ctx)
}

// describe lists all that the answers depend on.
func (a *answers) describe(ctx context.Context) error {
	c, err := checkpoint.Open(a.s.Checkpoint.Dir(), checkpoint.WithHashCache(a.env.Cache))
	if err != nil {
		return err
	}
	defer c.Close()
	hash, err := c.Hash(ctx)
	if err != nil {
		return err
	}
	by := a.s.Compute()
	var prompts [][]int32
	for _, q := range a.asked {
		prompts = append(prompts, q.ids)
	}
	a.settings = map[string]string{
		"model": hash, "kept layers": report.FormatLayers(a.s.kept()), "adapter": by.Adapter, "prompts": data.HashTokens(prompts),
		"engine": by.Device + ", " + by.Provider, "dtype": by.DType, "version": a.env.Version,
		"max_tokens": fmt.Sprint(a.MaxTokens), "temperature": fmt.Sprint(a.Temperature), "top_k": fmt.Sprint(a.TopK), "top_p": fmt.Sprint(a.TopP),
		"seed": fmt.Sprint(a.Seed), "stop": fmt.Sprintf("%q", a.Stop), "stop tokens": fmt.Sprint(a.stopIDs),
	}
	return nil
}

// finished is the result of an earlier run of the same, nil if there is none.
func (a *answers) finished() (*report.Generated, error) {
	if a.Force {
		return nil, errors.Join(gone(a.Out), gone(a.settingsFile()), gone(a.partial()))
	}
	raw, err := os.ReadFile(a.settingsFile())
	if errors.Is(err, fs.ErrNotExist) {
		if _, half := os.Stat(a.partial()); half != nil {
			if _, there := os.Stat(a.Out); there == nil {
				return nil, failed("{out} %s exists, and was not made by this", a.Out).with("name another file, or pass {force} to replace it")
			}
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var was answered
	if err := json.Unmarshal(raw, &was); err != nil {
		return nil, failed("%s: %w", a.settingsFile(), err).with("pass {force} to start over")
	}
	if _, err := os.Stat(a.Out); err != nil {
		return nil, nil // the answers were removed
	}
	if other := heal.Differs(was.Settings, a.settings); len(other) > 0 {
		return nil, failed("{out} %s was made with other settings: %s", a.Out, strings.Join(other, "; ")).with("name another file, or pass {force} to start over")
	}
	a.env.Talk.Note("%s is finished, with the same settings: nothing to do ({force} starts over)", a.Out)
	return &was.Done, nil
}

// gone removes a file that may not be there.
func gone(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// partial is the file of what is finished, until all is.
func (a *answers) partial() string { return a.Out + ".partial" }

// open opens the journal, which may have answers in it.
func (a *answers) open() error {
	about := map[string]any{}
	for k, v := range a.settings {
		about[k] = v
	}
	var err error
	a.journal, err = journal.Open(a.partial(), journal.Header{Kind: "answers", Version: 1, About: about}, journal.Options{}, func(line []byte) error {
		var l answerLine
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		if l.Seq < 0 || l.Seq >= len(a.asked) || l.Finish == "" {
			return errors.New("no answer")
		}
		a.kept[l.Seq] = l
		return nil
	})
	var other *journal.OtherError
	switch {
	case errors.As(err, &other):
		return failed("{out} %s was begun with other settings: %s", a.Out, strings.Join(other.Differences, "; ")).with("name another file, or pass {force} to start over")
	case errors.Is(err, journal.ErrForeign), errors.Is(err, journal.ErrVersion):
		return failed("{out} %s: %w", a.Out, err).with("name another file, or pass {force} to start over")
	}
	return err
}

// run answers what is not answered yet, and writes all.
func (a *answers) run(ctx context.Context) (*report.Generated, error) {
	if err := a.open(); err != nil {
		return nil, err
	}
	var left []int
	var prompts []generate.Prompt
	for i, q := range a.asked {
		if _, ok := a.kept[i]; !ok {
			left, prompts = append(left, i), append(prompts, generate.Prompt{Tokens: q.ids, Max: q.most})
		}
	}
	if n := len(a.kept); n > 0 {
		a.env.Talk.Note("going on after %s of %d", report.Plural(n, "answer"), len(a.asked))
	}
	before := len(a.kept)
	tell, end := a.env.Talk.Progress("answers", Steps)
	defer end()
	err := generate.Many(ctx, a.s.Runner.Resident(), a.s.Keep, prompts, generate.Options{
		MaxTokens: a.MaxTokens, Temperature: a.Temperature, TopK: a.TopK, TopP: a.TopP, Seed: a.Seed, Stop: a.stopIDs,
	}, func(seq int, id int32) error { return a.token(left[seq], id) }, func(x generate.Answer) error {
		if err := a.take(left[x.Seq], x); err != nil {
			return err
		}
		tell(int64(len(a.kept)), int64(len(a.asked)))
		return context.Cause(ctx)
	})
	if err != nil {
		return nil, a.stopped(ctx, err, len(a.kept) > before)
	}
	end()
	done, err := a.finish(before)
	if err != nil {
		return nil, a.stopped(ctx, err, false)
	}
	return done, a.journal.Remove()
}

// stopped keeps what is finished.
func (a *answers) stopped(ctx context.Context, err error, more bool) error {
	if len(a.kept) == 0 {
		return errors.Join(err, a.journal.Remove())
	}
	err = errors.Join(err, a.journal.Sync(), a.journal.Close())
	kept := fmt.Sprintf("%s of %d", report.Plural(len(a.kept), "answer"), len(a.asked))
	var p *Problem
	switch {
	case outOfSpace(err):
		p = failed("%w; %s kept", err, kept).with(again(err))
	case ctx.Err() != nil && more:
		p = failed("cancelled, with %s kept", kept).with("the same command goes on from there")
	default:
		return err
	}
	p.Kind = ErrPartial
	return p
}

// token takes a token of an answer's text.
func (a *answers) token(i int, id int32) error {
	x := a.begun[i]
	if x == nil {
		before := a.asked[i].ids
		if a.asked[i].chat {
			before = nil // an answer stands for itself
		}
		x = &answering{text: generate.NewText(a.t.Continue(ints(before)), a.Stop)}
		a.begun[i] = x
	}
	text, err := x.text.Next(id)
	x.said.WriteString(text)
	return err
}

// take keeps a finished answer.
func (a *answers) take(i int, x generate.Answer) error {
	line := answerLine{Seq: i, Tokens: len(x.Tokens), Finish: string(x.Finish)}
	if text := a.begun[i]; text != nil {
		line.Text = text.said.String() + text.text.Flush()
		delete(a.begun, i)
	}
	if err := a.journal.Append(line); err != nil {
		return err
	}
	a.kept[i] = line
	return nil
}

// finish writes all answers in the order of their rows.
func (a *answers) finish(before int) (*report.Generated, error) {
	done := report.Generated{Path: a.Out, Rows: len(a.asked), Skipped: a.skipped, Compute: a.s.Compute(), Resumed: before}
	err := wholefile.Write(a.Out, func(f *os.File) error {
		for i, q := range a.asked {
			line := a.kept[i]
			done.Tokens += line.Tokens
			if line.Finish == string(generate.Length) {
				done.OutOfTokens++
			}
			raw, err := q.answered(line)
			if err == nil {
				_, err = f.Write(raw)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	done.Seconds = seconds(a.start)
	if done.OutOfTokens > 0 {
		a.env.Talk.Warn("%s of %d ran out of tokens: their rows have \"finish\":\"length\" ({max_tokens} %d)", report.Plural(done.OutOfTokens, "answer"), done.Rows, a.MaxTokens)
	}
	raw, err := json.MarshalIndent(answered{a.settings, done.Typed().(report.Generated)}, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := wholefile.Bytes(a.settingsFile(), append(raw, '\n')); err != nil {
		return nil, err
	}
	return &done, nil
}

// draw takes some of the rows by seed.
func (q Questions) draw(all []question, seed uint64) []question {
	if q.Samples == 0 || q.Samples >= len(all) {
		return all
	}
	var out []question
	for _, i := range slices.Sorted(slices.Values(permutation(seed, len(all))[:q.Samples])) {
		out = append(out, all[i])
	}
	return out
}
