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
	Model       string  `yaml:"model"`
	Prompt      *string `yaml:"prompt"`      // text to continue; nil: Tokens
	Tokens      string  `yaml:"tokens"`      // JSON file of prompts as token ids
	MaxTokens   int     `yaml:"max_tokens"`  // most tokens to make
	Temperature float64 `yaml:"temperature"` // 0 takes the likeliest token
	TopK        int     `yaml:"top_k"`       // draw from this many likeliest tokens; 0: all
	TopP        float64 `yaml:"top_p"`       // draw from the fewest tokens that have this share together
	Seed        uint64  `yaml:"seed"`
	Chat        `yaml:",inline"`
	Layers      `yaml:",inline"`
	Engine      `yaml:",inline"`
}

// DefaultGenerate has every field that is not given.
func DefaultGenerate() Generate { return Generate{MaxTokens: 64, TopP: 1, Seed: 42} }

// Check finds what can be wrong before any file is opened.
func (g Generate) Check() error {
	switch {
	case g.Prompt == nil && g.Tokens == "":
		return wrong("generate: after what?").with("pass {prompt} or {tokens}")
	case g.MaxTokens < 1:
		return wrong("{max_tokens} %d: want at least 1", g.MaxTokens)
	case !(g.Temperature >= 0 && g.Temperature <= 1e6):
		return wrong("{temperature} %v: want 0 or more", g.Temperature)
	case g.TopK < 0:
		return wrong("{top_k} %d: want 0 (all) or more", g.TopK)
	case !(g.TopP > 0 && g.TopP <= 1):
		return wrong("{top_p} %v: want a share above 0 and up to 1", g.TopP)
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
	out := &generations{t: t, listen: listen, before: prompts, ids: make([][]int32, len(prompts)), streams: make([]*tokenizer.Stream, len(prompts))}
	if g.Chat.On {
		out.before = make([][]int32, len(prompts)) // an answer stands for itself
	}
	err = generate.Run(ctx, s.Runner.Resident(), s.Keep, prompts, generate.Options{
		MaxTokens: g.MaxTokens, Temperature: g.Temperature, TopK: g.TopK, TopP: g.TopP, Seed: g.Seed, Stop: stop,
	}, out.token)
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		return nil, err
	}
	return out.lines(s.Compute())
}

// tokenizer is nil where ids are given and the model has none.
func (g Generate) tokenizer(s *Session) (*tokenizer.Tokenizer, error) {
	t, err := tokenizer.Load(s.Checkpoint.Dir())
	if err != nil && g.Prompt == nil && errors.Is(err, tokenizer.ErrNone) {
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
	if g.Prompt != nil {
		ids, err := g.promptIDs(env, s, t)
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			return nil, wrong("{prompt}: an empty text, and the tokenizer adds no BOS to start from").with("give at least one character")
		}
		if err := checkIDs(ids, t, s.Checkpoint.Dir(), spec); err != nil {
			return nil, err
		}
		prompts = [][]int32{int32s(ids)}
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

func (g Generate) promptIDs(env Env, s *Session, t *tokenizer.Tokenizer) ([]int, error) {
	if g.Chat.On {
		return g.Chat.ids(env, s.Checkpoint.Dir(), t, *g.Prompt)
	}
	return t.Encode(*g.Prompt, true), nil
}

// generations collects tokens.
type generations struct {
	t       *tokenizer.Tokenizer
	listen  Listener
	before  [][]int32 // the prompts that text goes on from; nil entries in a chat
	ids     [][]int32
	streams []*tokenizer.Stream
}

func (g *generations) token(seq int, id int32) error {
	g.ids[seq] = append(g.ids[seq], id)
	if g.listen == nil || g.t == nil {
		return nil
	}
	if g.streams[seq] == nil {
		g.streams[seq] = g.decoder(seq)
	}
	text, err := g.streams[seq].Next(int(id))
	if err != nil {
		return err
	}
	return g.tell(seq, text)
}

// decoder writes the text that goes on from a prompt.
func (g *generations) decoder(i int) *tokenizer.Stream { return g.t.Continue(ints(g.before[i])) }

// text is what a prompt is continued with.
func (g *generations) text(i int) (string, error) {
	s := g.decoder(i)
	var out strings.Builder
	for _, id := range g.ids[i] {
		part, err := s.Next(int(id))
		if err != nil {
			return "", err
		}
		out.WriteString(part)
	}
	out.WriteString(s.Flush())
	return out.String(), nil
}

func (g *generations) tell(seq int, text string) error {
	if text == "" {
		return nil
	}
	return g.listen(seq, text)
}

// flush tells what no further token will complete.
func (g *generations) flush() error {
	for seq, s := range g.streams {
		if s == nil {
			continue
		}
		if err := g.tell(seq, s.Flush()); err != nil {
			return err
		}
	}
	return nil
}

func (g *generations) lines(by report.Compute) ([]report.Generation, error) {
	lines := make([]report.Generation, len(g.ids))
	for i, ids := range g.ids {
		lines[i] = report.Generation{Index: i, IDs: ids, Compute: by}
		if g.t == nil {
			continue
		}
		text, err := g.text(i)
		if err != nil {
			return nil, fmt.Errorf("prompt %d: %w", i, err)
		}
		lines[i].Text = &text
	}
	return lines, nil
}
