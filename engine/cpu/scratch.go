package cpu

// scratch is memory of a worker that nobody else touches until its chunk is done,
// by what it is for. A chunk may hold the buffers of one list beside those that
// are not shared; the lists of phases that never overlap lie in the same memory.
type scratch struct {
	convert, row *buffer // for a moment, in any phase
	product      struct{ turned, block, rows, columns, sums *buffer }
	adapter      struct{ part, low, lowBack, dropped, mask *buffer }

	// Of the forward pass and what is like it. A chunk of the backward pass that
	// makes the forward pass anew holds the first of these too.
	feed      struct{ input, gate, up, act *buffer }
	attention struct{ queries, scores, part, sum, state, keys, values *buffer }
	head      struct{ weights, logits *buffer }
	gram      struct{ band *buffer }

	// Of the backward pass.
	feedBack      struct{ dy, dact, dinput, gates *buffer }
	attentionBack struct{ sequence, queries, scores, part *buffer }
	headBack      struct{ row, part *buffer }
	reduce        struct{ sum *buffer }
	step          struct{ first, second *buffer }
}

// buffer is memory that grows to the largest ask.
type buffer struct {
	f32  []float32
	bf16 []uint16
}

// floats returns room for n values; their content is undefined.
func (b *buffer) floats(n int) []float32 {
	if cap(b.f32) < n {
		b.f32 = make([]float32, n)
	}
	return b.f32[:n]
}

// halves is floats of bfloat16 values, beside those.
func (b *buffer) halves(n int) []uint16 {
	if cap(b.bf16) < n {
		b.bf16 = make([]uint16, n)
	}
	return b.bf16[:n]
}

// init makes the buffers. Each list below is a chunk's; those of one call of share
// have the same memory.
func (s *scratch) init() {
	share(list{&s.convert, &s.row, &s.product.turned, &s.product.block, &s.product.rows, &s.product.columns, &s.product.sums,
		&s.adapter.part, &s.adapter.low, &s.adapter.lowBack, &s.adapter.dropped, &s.adapter.mask})
	share(
		list{&s.feed.input, &s.feed.gate, &s.feed.up, &s.feed.act},
		list{&s.attention.queries, &s.attention.scores, &s.attention.part, &s.attention.sum, &s.attention.state, &s.attention.keys, &s.attention.values},
		list{&s.head.weights, &s.head.logits},
		list{&s.gram.band},
	)
	share(
		list{&s.feedBack.dy, &s.feedBack.dact, &s.feedBack.dinput, &s.feedBack.gates},
		list{&s.attentionBack.sequence, &s.attentionBack.queries, &s.attentionBack.scores, &s.attentionBack.part},
		list{&s.headBack.row, &s.headBack.part},
		list{&s.reduce.sum},
		list{&s.step.first, &s.step.second},
	)
}

type list []**buffer

// share gives the first buffers of all lists the same memory, so the second, ….
func share(lists ...list) {
	var memory []*buffer
	for _, names := range lists {
		for i, name := range names {
			if i == len(memory) {
				memory = append(memory, &buffer{})
			}
			*name = memory[i]
		}
	}
}
