package tokenizer

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sharedPath is where the test material that lies beside the repository has something, if it is there.
func sharedPath(elem ...string) string {
	root := os.Getenv("COPPICE_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	return filepath.Join(append([]string{root}, elem...)...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// shared returns a path of the test material, or skips the test.
func shared(tb testing.TB, elem ...string) string {
	tb.Helper()
	path := sharedPath(elem...)
	if !exists(path) {
		tb.Skipf("test material is absent (set COPPICE_SHARED): %s", path)
	}
	return path
}

type golden struct {
	Text       string `json:"text"`
	IDs        []int  `json:"ids"`
	IDsSpecial []int  `json:"ids_special"`
	Decoded    string `json:"decoded"`
}

func readGoldens(tb testing.TB, path string) []golden {
	tb.Helper()
	file, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	var all []golden
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var g golden
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			tb.Fatalf("%s: %v", path, err)
		}
		all = append(all, g)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return all
}

// TestGoldens compares with Hugging Face's tokenizers (tokenizer.json) and Google's sentencepiece
// (tokenizer.model). The goldens of the latter have no ids_special: there it is BOS and the ids.
func TestGoldens(t *testing.T) {
	published := shared(t, "data", "tokenizers")
	for _, name := range []string{"llama2", "llama3", "qwen2", "falcon", "phi3", "baichuan2", "chatglm2"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(published, name)
			tok, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			checkGoldens(t, tok, readGoldens(t, filepath.Join(dir, "goldens.jsonl")))
		})
	}
	t.Run("other forms", func(t *testing.T) { otherFormsGoldens(t, published) })
	t.Run("tekken", func(t *testing.T) { tekkenGoldens(t, filepath.Join(published, "llama3")) })
	t.Run("constructs", func(t *testing.T) { constructGoldens(t, published) })
	t.Run("prefix of chatglm2", func(t *testing.T) { prefixOfChatGLM2(t, filepath.Join(published, "chatglm2")) })
}

func checkGoldens(t *testing.T, tok *Tokenizer, goldens []golden) {
	t.Helper()
	exact := 0
	for i, g := range goldens {
		want := g.IDsSpecial
		if want == nil {
			want = g.IDs
			if bos, ok := tok.BOS(); ok && tok.AddsBOS() {
				want = append([]int{bos}, want...)
			}
		}
		diff := cmp.Diff(g.IDs, tok.Encode(g.Text, false)) + cmp.Diff(want, tok.Encode(g.Text, true))
		for _, ids := range [][]int{g.IDs, want} {
			text, err := tok.Decode(ids)
			if err != nil {
				t.Errorf("golden %d: %v", i, err)
			}
			diff += cmp.Diff(g.Decoded, text) + cmp.Diff(g.Decoded, streamed(t, tok, ids))
		}
		if diff != "" {
			t.Errorf("golden %d %.80q (-want +got):\n%s", i, g.Text, diff)
			continue
		}
		exact++
	}
	t.Logf("%s: %d of %d exact", tok.Kind(), exact, len(goldens))
}

func streamed(tb testing.TB, tok *Tokenizer, ids []int) string {
	tb.Helper()
	s := tok.Stream()
	text := ""
	for _, id := range ids {
		part, err := s.Next(id)
		if err != nil {
			tb.Fatal(err)
		}
		text += part
	}
	return text + s.Flush()
}
