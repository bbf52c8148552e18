package stage

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
	"github.com/coppice-ml/coppice/tokenizer"
)

// PPL is the perplexity over the windows of a whole text.
type PPL struct {
	Model  string `yaml:"model"`
	Data   string `yaml:"data"`    // texts: a file, a directory, or a data set of the hub
	Field  string `yaml:"field"`   // column that holds the text; "": data.DefaultField
	Length int    `yaml:"length"`  // tokens in a window; 0: DefaultWindow, or as many as the model has positions
	Join   string `yaml:"join"`    // what stands between two rows; \n, \t and \\ mean newline, tab and backslash
	AddBOS string `yaml:"add_bos"` // BOS at the start of the text: auto (where the tokenizer adds one), true or false

	TokensOut string `yaml:"tokens_out"` // new file for the ids of the windows
	// Convention says what is scored: "" or coppice, or llama.cpp, as llama-perplexity
	// does. There every window begins with BOS, in place of the token that stands
	// there, where the text does, and only what follows its middle is scored.
	Convention string `yaml:"convention"`
	Layers     `yaml:",inline"`
	Engine     `yaml:",inline"`
}

// DefaultWindow is how many tokens PPL scores together where nothing says so.
const DefaultWindow = 2048

// Conventions of perplexity.
const (
	CoppicePPL  = "coppice"
	LlamaCppPPL = "llama.cpp"
)

// llamaCppWindow is llama-perplexity's own window where nothing says so.
const llamaCppWindow = 512

// asLlamaCpp says which convention is wanted.
func (p PPL) asLlamaCpp() bool { return p.Convention == LlamaCppPPL }

// window is how many tokens are scored together where nothing says so.
func (p PPL) window() int {
	if p.asLlamaCpp() {
		return llamaCppWindow
	}
	return DefaultWindow
}

// unscored is how many of a window's scores, of its second token on, do not count.
func (p PPL) unscored(length int) int {
	if p.asLlamaCpp() {
		return length / 2
	}
	return 0
}

// DefaultPPL has every field that is not given.
func DefaultPPL() PPL { return PPL{Join: `\n\n`, AddBOS: "auto"} }

// Check finds what can be wrong before any file is opened.
func (p PPL) Check() error {
	if err := checkField(p.Data, p.Field); err != nil {
		return err
	}
	if p.Data == "" {
		return wrong("ppl: on what text?").with("pass {data} with a file, a directory, or a data set of the hub")
	}
	least := 2
	if p.Convention != "" {
		if err := oneOf("convention", p.Convention, CoppicePPL, LlamaCppPPL); err != nil {
			return err
		}
	}
	if p.asLlamaCpp() {
		least = 3 // of two nothing follows the middle
	}
	if p.Length != 0 && p.Length < least {
		return wrong("{length} %d: want at least %d, a token that is scored and what comes before it", p.Length, least)
	}
	if err := oneOf("add_bos", p.AddBOS, "auto", "true", "false"); err != nil {
		return err
	}
	if _, err := unescape(p.Join); err != nil {
		return err
	}
	if p.TokensOut != "" {
		if err := checkNew(p.TokensOut); err != nil {
			return err
		}
		if err := Writable("tokens_out", p.TokensOut); err != nil {
			return err
		}
	}
	return p.Engine.Check()
}

// Run scores every window.
func (p PPL) Run(ctx context.Context, env Env) (result report.Perplexity, err error) {
	if err := p.Check(); err != nil {
		return result, err
	}
	s, err := Open(ctx, env, p.Model, p.Layers)
	if err != nil {
		return result, err
	}
	defer s.Close()
	windows, result, err := p.windows(ctx, env, s)
	if err != nil {
		return result, wantTokenizer(err)
	}
	start := time.Now()
	tell, end := env.Talk.Progress("perplexity", Steps)
	defer end()
	if err := s.Start(p.Engine, tell); err != nil {
		return result, err
	}
	var all score.Sum
	err = s.logProbs(ctx, windows, func(_ int, scores []engine.TokenScore) error {
		all.Add(score.Loss(scores[p.unscored(result.Length):]))
		return nil
	})
	if err != nil {
		return result, err
	}
	result.Tokens, result.Loss, result.Perplexity = all.Tokens, report.Number(all.Mean()), report.Number(all.Perplexity())
	result.Seconds, result.Compute = seconds(start), s.Compute()
	return result, nil
}

// unescape lets a shell pass \n.
func unescape(s string) (string, error) {
	quoted := `"` + strings.ReplaceAll(strings.ReplaceAll(s, "\n", `\n`), `"`, `\"`) + `"`
	out, err := strconv.Unquote(quoted)
	if err != nil {
		return "", wrong("{join} %s: not a text with \\n, \\t or \\\\ in it", s)
	}
	return out, nil
}

// windows tokenises the whole text and cuts it up.
func (p PPL) windows(ctx context.Context, env Env, s *Session) ([][]int32, report.Perplexity, error) {
	spec := s.Model.Spec
	r := report.Perplexity{Data: p.Data, Length: p.Length, Convention: CoppicePPL}
	if p.asLlamaCpp() {
		r.Convention = LlamaCppPPL
	}
	if r.Length == 0 {
		r.Length = p.window()
	}
	if r.Length > spec.MaxPositions {
		if p.Length != 0 {
			env.Talk.Warn("{length} %d is capped to the model's %d positions", p.Length, spec.MaxPositions)
		} else {
			env.Talk.Note("windows have %d tokens, as many as the model has positions", spec.MaxPositions)
		}
		r.Length = spec.MaxPositions
	}
	t, err := tokenizer.Load(s.Checkpoint.Dir())
	if err != nil {
		return nil, r, err
	}
	rows, err := p.rows(ctx, env, &r)
	if err != nil {
		return nil, r, err
	}
	r.Rows = len(rows)
	r.Join, _ = unescape(p.Join)
	text := strings.Join(rows, r.Join)
	if p.asLlamaCpp() { // its programs leave out a newline at the end of a file
		text = strings.TrimSuffix(text, "\n")
	}
	ids, err := p.encode(ctx, t, text, s.Checkpoint.Dir(), spec, &r)
	if err != nil {
		return nil, r, err
	}
	r.Windows, r.Dropped = len(ids)/r.Length, len(ids)%r.Length
	if r.Windows == 0 {
		return nil, r, failed("%s: the text has %s, too few for one window of %d", p.Data, report.Plural(len(ids), "token"), r.Length).with("pass {length} %d or less, or a longer text", len(ids))
	}
	windows := cutUp(ids, r.Length)
	if r.BOS && p.asLlamaCpp() {
		for _, w := range windows {
			w[0] = ids[0]
		}
	}
	r.SHA256 = data.HashTokens(windows)
	return windows, r, writeTokens(p.TokensOut, windows)
}

// rows reads the texts.
func (p PPL) rows(ctx context.Context, env Env, r *report.Perplexity) ([]string, error) {
	texts, err := openData(ctx, env, "data", p.Data)
	if err != nil {
		return nil, err
	}
	r.Data = texts.source
	return rowsOf(ctx, texts, p.Field)
}

// encode tokenises the text, with one BOS at its start where that is wanted.
func (p PPL) encode(ctx context.Context, t *tokenizer.Tokenizer, text, dir string, spec *model.Spec, r *report.Perplexity) ([]int32, error) {
	bos, err := startOf(t, p.AddBOS, dir, spec)
	if err != nil {
		return nil, err
	}
	r.BOS = len(bos) > 0
	ids, err := encoder(t, dir, spec)(ctx, text)
	return append(bos, ids...), err
}
