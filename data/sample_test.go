package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bytesOf makes one id of every byte.
func bytesOf(_ context.Context, text string) ([]int32, error) {
	var ids []int32
	for i := range len(text) {
		ids = append(ids, int32(text[i]))
	}
	return ids, nil
}

func each(texts ...string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, t := range texts {
			if !yield(t, nil) {
				return
			}
		}
	}
}

func sample(texts []string, opt SampleOptions) ([][]int32, error) {
	return Sample(context.Background(), each(texts...), bytesOf, opt)
}

func TestSample(t *testing.T) {
	texts := []string{"abcdefgh", "xy", "mnopqrst", "z", "abcdefgh"}
	opt := SampleOptions{Samples: 2, Length: 5, Seed: 1}
	two, err := sample(texts, opt)
	if err != nil {
		t.Fatal(err)
	}
	if two[0][0] < 'm' == (two[1][0] < 'm') {
		t.Errorf("two windows of one document, %v, before the other gave any", two)
	}
	// Two different documents of eight have four windows of five each.
	opt.Samples = 8
	all, err := sample(texts, opt)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int32]bool{}
	for _, w := range all {
		if len(w) != 5 || seen[w[0]] {
			t.Errorf("window %v is drawn twice or has not 5 tokens", w)
		}
		seen[w[0]] = true
	}
	opt.Samples = 9
	if _, err := sample(texts, opt); err == nil || !strings.Contains(err.Error(), "only 8 different windows") {
		t.Errorf("nine of eight windows: %v", err)
	}
	if _, err := sample(texts, SampleOptions{Samples: 1, Length: 9}); err == nil || !strings.Contains(err.Error(), "none of 5 texts has 9 tokens (the longest looked at has 8)") {
		t.Errorf("windows longer than any text: %v", err)
	}
}

// documents makes n texts, of which one in rare is long.
func documents(n, rare int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("document %d", i)
		if i%rare == 0 {
			texts[i] += strings.Repeat(fmt.Sprintf(" with more words %d", i), 20)
		}
	}
	return texts
}

// TestSampleIgnoresOrder: the windows are the same in whatever order the texts
// come, also where they are too many to be held and few are long.
func TestSampleIgnoresOrder(t *testing.T) {
	for _, rare := range []int{1, 3, 900} {
		texts := documents(4000, rare)
		for _, opt := range []SampleOptions{{Samples: 3, Length: 64, Seed: 9}, {Samples: 12, Length: 200, Seed: 10}} {
			want, err := sample(texts, opt)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				rand.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
				got, err := sample(texts, opt)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("one in %d, %+v: another order draws other windows:\n%s", rare, opt, diff)
				}
			}
		}
	}
}

func TestSampleSeeds(t *testing.T) {
	for name, texts := range map[string][]string{
		"one text":   {strings.Repeat("abcdefghijklmnopqrstuvwxyz", 20)},
		"many texts": documents(500, 1),
	} {
		drawn := map[string]bool{}
		for seed := range uint64(20) {
			w, err := sample(texts, SampleOptions{Samples: 3, Length: 16, Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			drawn[fmt.Sprint(w)] = true
		}
		if len(drawn) < 15 {
			t.Errorf("%s: 20 seeds draw %d different samples", name, len(drawn))
		}
	}
}

// TestSampleIsFair: every document and every place has its chance.
func TestSampleIsFair(t *testing.T) {
	texts := documents(50, 1)
	first, starts := map[string]int{}, map[int]int{}
	place := func(context.Context, string) ([]int32, error) {
		ids := make([]int32, 21)
		for i := range ids {
			ids[i] = int32(i)
		}
		return ids, nil
	}
	for seed := range uint64(2000) {
		w, err := Sample(context.Background(), each(texts...), bytesOf, SampleOptions{Samples: 1, Length: 300, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		first[fmt.Sprint(w[0])]++
		p, err := Sample(context.Background(), each(texts[0]), place, SampleOptions{Samples: 1, Length: 2, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		starts[int(p[0][0])]++
	}
	for at := range 20 {
		if n := starts[at]; n < 50 || n > 160 {
			t.Errorf("place %d of 20 is drawn %d times in 2000", at, n)
		}
	}
	if len(first) < 500 {
		t.Errorf("2000 seeds draw %d different windows", len(first))
	}
}

func TestSampleStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	texts := func(yield func(string, error) bool) {
		for {
			if n++; n == 100 {
				cancel()
			}
			if n > 200 || !yield("a text", nil) {
				return
			}
		}
	}
	if _, err := Sample(ctx, texts, bytesOf, SampleOptions{Samples: 1, Length: 2}); !errors.Is(err, context.Canceled) || n > 101 {
		t.Errorf("after %d texts: %v", n, err)
	}
	damaged := func(yield func(string, error) bool) { yield("", errors.New("damaged")) }
	if _, err := Sample(context.Background(), damaged, bytesOf, SampleOptions{Samples: 1, Length: 2}); err == nil || err.Error() != "damaged" {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

func TestWriteTokens(t *testing.T) {
	for _, seqs := range [][][]int32{{{1, 2, 3}, {4}}, {{0}}} {
		var b bytes.Buffer
		if err := WriteTokens(&b, seqs); err != nil {
			t.Fatal(err)
		}
		got, err := parseTokens("f", &b, 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(seqs, got); diff != "" {
			t.Errorf("there and back:\n%s", diff)
		}
	}
	if got, want := HashTokens([][]int32{{1, 2}, {3}}), HashTokens([][]int32{{1}, {2, 3}}); got == want {
		t.Error("different sequences have one hash")
	}
	// printf '[[1,2],\n[3]]\n' | sha256sum
	if got, want := HashTokens([][]int32{{1, 2}, {3}}), "9428eaeeff25ce30a2eeee32699076927bcc8719d6ac655274fe751b3413720a"; got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}

// None is long enough: the message has the true length of the longest.
func TestSampleOfShortTexts(t *testing.T) {
	for _, c := range []struct {
		texts []string
		want  string
	}{
		{[]string{"Tim", "Tim ran.", ""}, "none of 3 texts has 1000 tokens (the longest looked at has 8)"},
		{[]string{strings.Repeat("x", 999)}, "none of 1 text has 1000 tokens (the longest looked at has 999)"},
		{nil, "there is no text"},
	} {
		if _, err := sample(c.texts, SampleOptions{Samples: 1, Length: 1000}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
