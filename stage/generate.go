package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Generate continues prompts.
type Generate struct {
	Model       string   `yaml:"model"`
	Prompt      *string  `yaml:"prompt"`      // text to continue; nil: Tokens
	Texts       []string `yaml:"texts"`       // more of them than one
	Tokens      string   `yaml:"tokens"`      // JSON file of prompts as token ids
	MaxTokens   int      `yaml:"max_tokens"`  // most tokens to make
	Temperature float64  `yaml:"temperature"` // 0 takes the likeliest token
	TopK        int      `yaml:"top_k"`       // draw from this many likeliest tokens; 0: all
	TopP        float64  `yaml:"top_p"`       // draw from the fewest tokens that have this share together
	Seed        uint64   `yaml:"seed"`
	// Stop are strings that end a text, which ends before the first of them.
	Stop      []string `yaml:"stop"`
	Questions `yaml:",inline"`
	Chat      `yaml:",inline"`
	Layers    `yaml:",inline"`
	Engine    `yaml:",inline"`
}

// DefaultGenerate has every field that is not given.
func DefaultGenerate() Generate { return Generate{MaxTokens: 64, TopP: 1, Seed: 42} }

// Check finds what can be wrong before any file is opened.
func (g Generate) Check() error {
	if len(g.texts()) == 0 && g.Tokens == "" {
		return wrong("generate: after what?").with("pass {prompt}, {tokens} or {data}")
	}
	return g.numbers()
}

// numbers checks the fields that say how texts go on.
func (g Generate) numbers() error {
	switch {
	case g.MaxTokens < 1:
		return wrong("{max_tokens} %d: want at least 1", g.MaxTokens)
	case !(g.Temperature >= 0 && g.Temperature <= 1e6):
		return wrong("{temperature} %v: want 0 or more", g.Temperature)
	case g.TopK < 0:
		return wrong("{top_k} %d: want 0 (all) or more", g.TopK)
	case !(g.TopP > 0 && g.TopP <= 1):
		return wrong("{top_p} %v: want a share above 0 and up to 1", g.TopP)
	case slices.Contains(g.Stop, ""):
		return wrong("{stop}: an empty text ends every text").with("leave it out")
	}
	return g.Engine.Check()
}

// Listener hears the text that is made of a prompt, as it comes.
type Listener func(index int, text string) error

// Run gives what the model makes of every prompt. listen, which may be nil, hears
// the texts as they come, if there is a tokenizer.
func (g Generate) Run(ctx context.Context, env Env, listen Listener) ([]report.Generation, error) {
	if err := g.Check(); err != nil {
		return nil, err
	}
	s, err := Open(ctx, env, g.Model, g.Layers)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	t, err := g.tokenizer(s)
	if err != nil {
		return nil, err
	}
	prompts, err := g.prompts(env, s, t)
	if err != nil {
		return nil, err
	}
	stop, err := g.stop(s, t)
	if err != nil {
		return nil, err
	}
	if err := s.Start(g.Engine, nil); err != nil {
		return nil, err
	}
	out := g.generations(t, prompts, listen)
	err = generate.Run(ctx, s.Runner.Resident(), s.Keep, prompts, generate.Options{
		MaxTokens: g.MaxTokens, Temperature: g.Temperature, TopK: g.TopK, TopP: g.TopP, Seed: g.Seed, Stop: stop, Finished: out.finished,
	}, out.token)
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		return nil, err
	}
	return out.lines(s.Compute()), nil
}

// tokenizer is nil where ids are given and the model has none.
func (g Generate) tokenizer(s *Session) (*tokenizer.Tokenizer, error) {
	t, err := tokenizer.Load(s.Checkpoint.Dir())
	if err != nil && len(g.texts()) == 0 && len(g.Stop) == 0 && errors.Is(err, tokenizer.ErrNone) {
		return nil, nil
	}
	return t, err
}

// stop are the ends of text that the tokenizer and the model's configurations name.
func (g Generate) stop(s *Session, t *tokenizer.Tokenizer) ([]int, error) {
	ends := slices.Clone(s.Model.Spec.EOS)
	if t != nil {
		if id, ok := t.EOS(); ok {
			ends = append(ends, id)
		}
		ends = append(ends, t.TurnEnds()...)
	}
	return generate.StopTokens(s.Checkpoint.Dir(), ends)
}

func (g Generate) prompts(env Env, s *Session, t *tokenizer.Tokenizer) ([][]int32, error) {
	spec := s.Model.Spec
	var prompts [][]int32
	if texts := g.texts(); len(texts) > 0 {
		for _, text := range texts {
			ids, err := g.promptIDs(env, s, t, text)
			if err != nil {
				return nil, err
			}
			if len(ids) == 0 && g.Chat.On {
				return nil, failed("the model's chat template makes an empty text of {prompt}").with("pass {chat_template} with another")
			}
			if len(ids) == 0 {
				return nil, wrong("{prompt}: an empty text, and the tokenizer adds no BOS to start from").with("give at least one character")
			}
			if err := checkIDs(ids, t, s.Checkpoint.Dir(), spec); err != nil {
				return nil, err
			}
			prompts = append(prompts, int32s(ids))
		}
	} else {
		var err error
		if prompts, err = data.ReadTokens(g.Tokens, spec.Vocab); err != nil {
			return nil, err
		}
	}
	for i, p := range prompts {
		if n := len(p) + g.MaxTokens; n-1 > spec.MaxPositions { // the last new token takes none
			err := wrong("prompt %d: %d tokens and {max_tokens} %d are more than the model's %d positions", i, len(p), g.MaxTokens, spec.MaxPositions)
			if left := spec.MaxPositions - len(p) + 1; left > 0 {
				return nil, err.with("pass {max_tokens} %d or less", left)
			}
			return nil, err.with("shorten the prompt")
		}
	}
	return prompts, nil
}

// texts are the prompts that are texts.
func (g Generate) texts() []string {
	if g.Prompt != nil {
		return append([]string{*g.Prompt}, g.Texts...)
	}
	return g.Texts
}

func (g Generate) promptIDs(env Env, s *Session, t *tokenizer.Tokenizer, text string) ([]int, error) {
	if g.Chat.On {
		return g.Chat.ids(env, s.Checkpoint.Dir(), t, text)
	}
	return t.Encode(text, true), nil
}

// generations collects tokens, and the text that goes on from each prompt.
type generations struct {
	listen Listener
	ids    [][]int32
	ends   []generate.Reason
	texts  []*generate.Text // nil without a tokenizer
	said   []strings.Builder
}

func (g Generate) generations(t *tokenizer.Tokenizer, prompts [][]int32, listen Listener) *generations {
	out := &generations{listen: listen, ids: make([][]int32, len(prompts)), ends: make([]generate.Reason, len(prompts)), said: make([]strings.Builder, len(prompts))}
	if t == nil {
		return out
	}
	for _, before := range prompts {
		if g.Chat.On {
			before = nil // an answer stands for itself
		}
		out.texts = append(out.texts, generate.NewText(t.Continue(ints(before)), g.Stop))
	}
	return out
}

func (g *generations) token(seq int, id int32) error {
	g.ids[seq] = append(g.ids[seq], id)
	if g.texts == nil {
		return nil
	}
	text, err := g.texts[seq].Next(id)
	if err != nil && !errors.Is(err, generate.ErrEnd) {
		return fmt.Errorf("prompt %d: %w", seq, err)
	}
	if told := g.tell(seq, text); told != nil {
		return told
	}
	return err
}

func (g *generations) finished(seq int, why generate.Reason) { g.ends[seq] = why }

func (g *generations) tell(seq int, text string) error {
	g.said[seq].WriteString(text)
	if text == "" || g.listen == nil {
		return nil
	}
	return g.listen(seq, text)
}

// flush tells what no further token will complete.
func (g *generations) flush() error {
	for seq, t := range g.texts {
		if err := g.tell(seq, t.Flush()); err != nil {
			return err
		}
	}
	return nil
}

func (g *generations) lines(by report.Compute) []report.Generation {
	lines := make([]report.Generation, len(g.ids))
	for i, ids := range g.ids {
		lines[i] = report.Generation{Index: i, IDs: ids, Finish: string(g.ends[i]), Compute: by}
		if g.texts != nil {
			text := g.said[i].String()
			lines[i].Text = &text
		}
	}
	return lines
}
