package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/resident"
)

// whatGenerate is answering prompts together, beside one after another.
const whatGenerate = "generate"

const (
	bulkPrompts = 16
	bulkAnswer  = 16 // tokens of each answer
)

// bulk answers prompts of Tokens tokens together, as data sets are generated, in
// turns with the same prompts one at a time, whose rate is the "limit": the ratio
// says how many times faster they are together. Tokens are those of the answers. It
// fails where an answer differs from the one given alone.
func (opt Options) bulk(ctx context.Context, m *model.Model, l engine.Limiter) (report.Bench, error) {
	b := newBulk(ctx, opt, m)
	defer b.set.Close()
	if err := b.both(); err != nil { // few tokens warm up as well as many
		return report.Bench{}, err
	}
	b.options.MaxTokens = bulkAnswer
	p := pairs{opt: opt, tokens: bulkPrompts * bulkAnswer, operations: b.operations(), run: b.together, limit: b.alone, way: "one prompt at a time", l: l, warm: true}
	r, err := p.measure()
	r.Prompts = bulkPrompts
	return r, err
}

// bulk is a set of prompts and what was answered to them.
type bulk struct {
	ctx     context.Context
	set     *resident.Set
	prompts []generate.Prompt
	options generate.Options
	answers [bulkPrompts][]int32 // of the last time together
}

// newBulk makes random prompts, to be answered by two tokens.
func newBulk(ctx context.Context, opt Options, m *model.Model) *bulk {
	b := &bulk{ctx: ctx, set: resident.New(m, opt.Engine, resident.Options{}), options: generate.Options{MaxTokens: 2, Temperature: 1, Seed: opt.Seed}}
	random := rand.New(rand.NewPCG(opt.Seed, 3))
	for range bulkPrompts {
		prompt := make([]int32, opt.Tokens)
		for i := range prompt {
			prompt[i] = random.Int32N(int32(m.Spec.Vocab))
		}
		b.prompts = append(b.prompts, generate.Prompt{Tokens: prompt})
	}
	return b
}

// operations are those of the products of all answers: each token but an answer's last
// passes the layers, and each of an answer's follows from logits.
func (b *bulk) operations() float64 {
	spec := b.set.Model().Spec
	head := float64(spec.Hidden) * float64(spec.Vocab)
	rows := float64(len(b.prompts[0].Tokens) + b.options.MaxTokens - 1)
	return 2 * bulkPrompts * (rows*(float64(spec.MACsPerToken())-head) + float64(b.options.MaxTokens)*head)
}

func (b *bulk) together() error {
	return generate.Many(b.ctx, b.set, nil, b.prompts, b.options, nil, func(a generate.Answer) error {
		b.answers[a.Seq] = a.Tokens
		return nil
	})
}

// alone answers one prompt after another.
func (b *bulk) alone() (time.Duration, error) {
	start := time.Now()
	for i, p := range b.prompts {
		var got []int32
		err := generate.Run(b.ctx, b.set, nil, [][]int32{p.Tokens}, b.options, func(_ int, id int32) error {
			got = append(got, id)
			return nil
		})
		if err != nil {
			return 0, err
		}
		if !slices.Equal(got, b.answers[i]) {
			return 0, fmt.Errorf("prompt %d is answered by %v alone and by %v among %d", i, got, b.answers[i], bulkPrompts)
		}
	}
	return time.Since(start), nil
}

func (b *bulk) both() error {
	if err := b.together(); err != nil {
		return err
	}
	_, err := b.alone()
	return err
}
