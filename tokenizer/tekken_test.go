package tokenizer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tekkenFile writes a byte-level vocabulary as a tekken.json with so many special tokens, of which list names some;
// nil: the file has no list. More tokens are in it than count.
func tekkenFile(vocab map[string]int32, pattern string, specials int, list map[int]string) string {
	reader := newByteReader()
	var entries, named []map[string]any
	tokens := slices.SortedFunc(maps.Keys(vocab), func(a, b string) int { return int(vocab[a] - vocab[b]) })
	for i, token := range append(tokens, "beyond") {
		raw, _ := reader.raw(nil, token)
		entries = append(entries, map[string]any{"rank": i, "token_bytes": base64.StdEncoding.EncodeToString(raw), "token_str": nil})
	}
	f := map[string]any{"vocab": entries, "config": map[string]any{"pattern": pattern, "num_vocab_tokens": len(entries),
		"default_vocab_size": len(vocab) + specials, "default_num_special_tokens": specials, "version": "v3"}}
	for _, rank := range slices.Sorted(maps.Keys(list)) {
		named = append(named, map[string]any{"rank": rank, "token_str": list[rank], "is_control": true})
	}
	if named != nil {
		f["special_tokens"] = named
	}
	raw, _ := json.Marshal(f)
	return string(raw)
}

// tekkenGoldens: Llama 3's published vocabulary in tekken's form gives the ids of its goldens, moved up by the
// special tokens.
func tekkenGoldens(t *testing.T, dir string) {
	tok, err := loadFrom(t, map[string]string{tekkenName: tekkenFile(readVocabAndMerges(t, filepath.Join(dir, jsonName)).Model.Vocab, patternLlama3, 1000, nil)})
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, g := range readGoldens(t, filepath.Join(dir, "goldens.jsonl")) {
		if slices.ContainsFunc(g.IDs, func(id int) bool { return id >= 128000 }) {
			continue // special tokens of its own
		}
		want := []int{1}
		for _, id := range g.IDs {
			want = append(want, id+1000)
		}
		if got := tok.Encode(g.Text, true); !slices.Equal(got, want) {
			t.Errorf("%.60q: %v, want %v", g.Text, got, want)
		}
		if text, err := tok.Decode(want[1:]); err != nil || text != g.Decoded {
			t.Errorf("%v: %q, %v", want, text, err)
		}
		compared++
	}
	if compared < 200 {
		t.Errorf("%d goldens compared", compared)
	}
}

func TestTekken(t *testing.T) {
	const pattern = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	vocab := bytesAnd("hi", "iB", "Ġhi", "12") // the pattern cuts between i and B, and every digit apart
	for name, c := range map[string]struct {
		list map[int]string
		text string
		want []int
	}{
		"without a list": {nil, "hiBi hi12[INST]", []int{1, 20 + 256, 20 + 'B', 20 + 'i', 20 + 258, 20 + '1', 20 + '2', 3}},
		"with one":       {map[int]string{1: "<s>", 2: "</s>", 5: "[THINK]"}, "[THINK]hi<SPECIAL_7>[INST]", append([]int{1, 5, 20 + 256, 7}, raised("[INST]")...)},
	} {
		t.Run(name, func(t *testing.T) {
			tok, err := loadFrom(t, map[string]string{tekkenName: tekkenFile(vocab, pattern, 20, c.list)})
			if err != nil {
				t.Fatal(err)
			}
			if got := tok.Encode(c.text, true); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			bos, _ := tok.BOS()
			if eos, _ := tok.EOS(); bos != 1 || eos != 2 || tok.VocabSize() != 280 {
				t.Errorf("BOS %d, EOS %d, %d tokens", bos, eos, tok.VocabSize())
			}
		})
	}
}

// raised are the ids of single bytes after 20 special tokens.
func raised(text string) (ids []int) {
	for i := range len(text) {
		ids = append(ids, 20+int(text[i]))
	}
	return ids
}

func TestTekkenErrors(t *testing.T) {
	good := tekkenFile(bytesAnd("hi"), patternLlama3, 20, map[int]string{1: "<s>"})
	for name, c := range map[string]struct{ from, to, want string }{
		"cut off":       {good[len(good)-9:], "", "not a tekken vocabulary"},
		"too few":       {`"default_vocab_size":277`, `"default_vocab_size":999`, "258 tokens in vocab, 979 are named"},
		"no size":       {`"default_vocab_size":277`, `"default_vocab_size":3`, "default_vocab_size = 3"},
		"huge":          {`"default_vocab_size":277`, `"default_vocab_size":99999999`, "default_vocab_size = 99999999"},
		"ranks":         {`"rank":7,`, `"rank":8,`, "vocab[7] has rank 8"},
		"base64":        {`"token_bytes":"AA=="`, `"token_bytes":"!"`, `"!" is no token`},
		"twice":         {`"token_bytes":"AA=="`, `"token_bytes":"AQ=="`, "a second time"},
		"special":       {`"is_control":true,"rank":1,`, `"is_control":true,"rank":20,`, `special token "<s>" has rank 20 of 20`},
		"no pattern":    {fmt.Sprintf(`"pattern":%s`, quoted(patternLlama3)), `"pattern":""`, "no pattern"},
		"not a pattern": {fmt.Sprintf(`"pattern":%s`, quoted(patternLlama3)), `"pattern":"("`, "pre_tokenizer Split"},
	} {
		bad := strings.Replace(good, c.from, c.to, 1)
		if bad == good {
			t.Errorf("%s: nothing was spoilt", name)
		}
		if _, err := loadFrom(t, map[string]string{tekkenName: bad}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.want)
		}
	}
}
