package bench

import (
	"strings"
	"testing"
)

// TestBulk: prompts together beside the same one at a time, whose rate is the limit.
func TestBulk(t *testing.T) {
	opt := Options{What: whatGenerate, Tokens: 5, Rounds: 2, Engine: newEngine(t, "float32")}
	r, err := opt.bulk(t.Context(), pico(t, opt), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Prompts != bulkPrompts || r.LimitWay != "one prompt at a time" || r.Tokens != 5 || r.Runs != 2 {
		t.Errorf("result = %+v", r)
	}
	if r.TokensPerSecond <= 0 || r.LimitTokensPerSecond <= 0 || r.Ratio <= 0 || r.GEMMGFLOPS <= 0 {
		t.Errorf("rates of %+v", r)
	}
}

// TestBulkDiffers: an answer that is not the one given alone is an error.
func TestBulkDiffers(t *testing.T) {
	opt := Options{Tokens: 5, Engine: newEngine(t, "float32")}
	b := newBulk(t.Context(), opt, pico(t, opt))
	defer b.set.Close()
	if err := b.both(); err != nil {
		t.Fatal(err)
	}
	b.answers[3][1]++
	if _, err := b.alone(); err == nil || !strings.HasPrefix(err.Error(), "prompt 3 is answered by [") {
		t.Errorf("error %v", err)
	}
}
