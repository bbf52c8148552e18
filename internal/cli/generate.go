package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

type generateOptions struct {
	dir         string
	prompt      string
	hasPrompt   bool
	tokens      string
	maxTokens   int
	temperature float64
	topK        int
	topP        float64
	seed        uint64
	chat        chatFlags
	layers      layerFlags
	engine      engineFlags
}

func newGenerate(a *app) *cobra.Command {
	var o generateOptions
	c := &cobra.Command{
		Use:   "generate MODEL (--prompt TEXT | --tokens FILE)",
		Short: "Continue a prompt",
		Long: `Continue a prompt with a model, or with a pruning of it that is never written
(--drop, --keep, --plan). Text comes out as it is made. Prompts of --prompt get
the special tokens that the tokenizer puts before a text; those of --tokens are
used as they are, several at a time. With --chat the prompt is a user's message
in the model's chat template. Generation ends at the model's end-of-text tokens
or after --max-tokens.`,
		Example: `  coppice generate ./model --prompt "Once upon a time" --max-tokens 100
  coppice generate ./model --chat --prompt "Who are you?" --drop 24-31`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.dir, o.hasPrompt = args[0], c.Flags().Changed("prompt")
			for _, name := range []string{"top-k", "top-p"} {
				if c.Flags().Changed(name) && o.temperature == 0 {
					return usage("--%s has no effect at temperature 0, which always takes the likeliest token", name).withHint("pass a --temperature above 0, such as 0.8")
				}
			}
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	c.Flags().StringVar(&o.prompt, "prompt", "", "text to continue")
	c.Flags().StringVar(&o.tokens, "tokens", "", "JSON file of prompts as token ids, [[ids…], …]")
	c.Flags().IntVar(&o.maxTokens, "max-tokens", 64, "most tokens to make")
	c.Flags().Float64Var(&o.temperature, "temperature", 0, "0 takes the likeliest token; above 0, tokens are drawn")
	c.Flags().IntVar(&o.topK, "top-k", 0, "draw from this many likeliest tokens (0: all)")
	c.Flags().Float64Var(&o.topP, "top-p", 1, "draw from the fewest tokens that have this share together")
	c.Flags().Uint64Var(&o.seed, "seed", 42, "seed of drawing")
	nonEmpty(c, "tokens")
	exclusive(c, "prompt", "tokens")
	exclusive(c, "tokens", "chat")
	o.chat.register(c)
	o.layers.register(c)
	o.engine.register(c)
	return c
}

func (o generateOptions) check() error {
	switch {
	case !o.hasPrompt && o.tokens == "":
		return usage("generate: after what?").withHint("pass --prompt or --tokens")
	case o.maxTokens < 1:
		return usage("--max-tokens %d: want at least 1", o.maxTokens)
	case !(o.temperature >= 0 && o.temperature <= 1e6):
		return usage("--temperature %v: want 0 or more", o.temperature)
	case o.topK < 0:
		return usage("--top-k %d: want 0 (all) or more", o.topK)
	case !(o.topP > 0 && o.topP <= 1):
		return usage("--top-p %v: want a share above 0 and up to 1", o.topP)
	}
	return o.engine.check()
}

func (o generateOptions) run(ctx context.Context, a *app) error {
	if err := o.check(); err != nil {
		return err
	}
	dir, err := a.findModel(ctx, o.dir, hub.NeedAll)
	if err != nil {
		return err
	}
	o.dir = dir
	s, err := o.layers.open(o.dir)
	if err != nil {
		return err
	}
	defer s.close()
	t, err := o.tokenizer()
	if err != nil {
		return err
	}
	prompts, err := o.prompts(a, s, t)
	if err != nil {
		return err
	}
	stop, err := stopTokens(s, t)
	if err != nil {
		return err
	}
	if err := s.start(a, o.engine, nil); err != nil {
		return err
	}
	before := prompts
	if o.chat.on {
		before = make([][]int32, len(prompts)) // an answer stands for itself
	}
	out := newGenerations(a, s, t, before)
	if o.hasPrompt && !a.json {
		out.stream = out.decoder(0)
	}
	err = generate.Run(ctx, s.run, s.keep, prompts, generate.Options{
		MaxTokens: o.maxTokens, Temperature: o.temperature, TopK: o.topK, TopP: o.topP, Seed: o.seed, Stop: stop,
	}, out.token)
	if err != nil {
		return errors.Join(err, out.endLine())
	}
	return out.finish()
}

// tokenizer is nil where --tokens is given and the model has none.
func (o generateOptions) tokenizer() (*tokenizer.Tokenizer, error) {
	t, err := tokenizer.Load(o.dir)
	if err != nil && !o.hasPrompt && errors.Is(err, tokenizer.ErrNone) {
		return nil, nil
	}
	return t, err
}

func (o generateOptions) prompts(a *app, s *session, t *tokenizer.Tokenizer) ([][]int32, error) {
	spec := s.m.Spec
	var prompts [][]int32
	if o.hasPrompt {
		ids, err := o.promptIDs(a, t)
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			return nil, usage("--prompt: an empty text, and the tokenizer adds no BOS to start from").withHint("give at least one character")
		}
		if err := checkIDs(ids, t, o.dir, spec); err != nil {
			return nil, err
		}
		prompts = [][]int32{int32s(ids)}
	} else {
		var err error
		if prompts, err = data.ReadTokens(o.tokens, spec.Vocab); err != nil {
			return nil, err
		}
	}
	for i, p := range prompts {
		if n := len(p) + o.maxTokens; n > spec.MaxPositions {
			err := usage("prompt %d: %d tokens and --max-tokens %d are more than the model's %d positions", i, len(p), o.maxTokens, spec.MaxPositions)
			if left := spec.MaxPositions - len(p); left > 0 {
				return nil, err.withHint("pass --max-tokens %d or less", left)
			}
			return nil, err.withHint("shorten the prompt")
		}
	}
	return prompts, nil
}

func (o generateOptions) promptIDs(a *app, t *tokenizer.Tokenizer) ([]int, error) {
	if o.chat.on {
		return o.chat.ids(a, o.dir, t, o.prompt)
	}
	return t.Encode(o.prompt, true), nil
}

// stopTokens are the ends of text that the tokenizer, config.json and
// generation_config.json name.
func stopTokens(s *session, t *tokenizer.Tokenizer) ([]int, error) {
	stop := slices.Clone(s.m.Spec.EOS)
	if t != nil {
		if id, ok := t.EOS(); ok {
			stop = append(stop, id)
		}
		stop = append(stop, t.TurnEnds()...)
	}
	more, err := generationEOS(filepath.Join(s.c.Dir(), "generation_config.json"))
	if err != nil {
		return nil, err
	}
	stop = append(stop, more...)
	slices.Sort(stop)
	return slices.Compact(stop), nil
}

func generationEOS(path string) ([]int, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var config struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("%s: not a JSON object: %w", path, err)
	}
	var one int
	var many []int
	switch {
	case len(config.EOS) == 0 || string(config.EOS) == "null":
		return nil, nil
	case json.Unmarshal(config.EOS, &one) == nil:
		return []int{one}, nil
	case json.Unmarshal(config.EOS, &many) == nil:
		return many, nil
	}
	return nil, fmt.Errorf("%s: eos_token_id = %s: want a token id or a list of them", path, config.EOS)
}

// generations collects tokens, or prints them as they come where there is one
// prompt and people read.
type generations struct {
	a      *app
	t      *tokenizer.Tokenizer
	by     report.Compute
	before [][]int32 // the prompts that text goes on from; nil entries in a chat
	ids    [][]int32
	stream *tokenizer.Stream // nil: print at the end
	begun  bool
}

func newGenerations(a *app, s *session, t *tokenizer.Tokenizer, before [][]int32) *generations {
	return &generations{a: a, t: t, by: s.compute(), before: before, ids: make([][]int32, len(before))}
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

func (g *generations) token(seq int, id int32) error {
	g.ids[seq] = append(g.ids[seq], id)
	if g.stream == nil {
		return nil
	}
	text, err := g.stream.Next(int(id))
	if err != nil {
		return err
	}
	return g.print(text)
}

func (g *generations) print(text string) error {
	if text == "" {
		return nil
	}
	g.begun = true
	return g.a.printf("%s", text)
}

// endLine ends the line of text that was cut off.
func (g *generations) endLine() error {
	if g.stream == nil || !g.begun {
		return nil
	}
	return g.a.printf("\n")
}

func (g *generations) finish() error {
	if g.stream != nil {
		return errors.Join(g.print(g.stream.Flush()), g.a.printf("\n"))
	}
	for i, ids := range g.ids {
		l := report.Generation{Index: i, IDs: ids, Compute: g.by}
		if g.t != nil {
			text, err := g.text(i)
			if err != nil {
				return fmt.Errorf("prompt %d: %w", i, err)
			}
			l.Text = &text
		}
		if err := g.write(l); err != nil {
			return err
		}
	}
	return nil
}

func (g *generations) write(l report.Generation) error {
	if g.a.json {
		return g.a.line(l)
	}
	if l.Text != nil {
		return g.a.printf("%s\n", *l.Text)
	}
	return g.a.printf("%s\n", strings.Trim(fmt.Sprint(l.IDs), "[]"))
}
