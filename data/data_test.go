package data

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadTexts(t *testing.T) {
	for _, c := range []struct {
		name, file, content, field string
		want                       []string
		err                        string
	}{
		{name: "txt is one text, to the byte", file: "a.txt", content: "one\n\n\ttwo \n", want: []string{"one\n\n\ttwo \n"}},
		{name: "line ends as Python reads them", file: "a.txt", content: "one\r\n\r\ntwo\rthree\n\r", want: []string{"one\n\ntwo\nthree\n\n"}},
		{name: "a text in JSON keeps its line ends", file: "a.jsonl", content: "\"a\\r\\nb\"\r\n", want: []string{"a\r\nb"}},
		{name: "a file without an extension", file: "story", content: "one\n", want: []string{"one\n"}},
		{name: "Markdown", file: "story.md", content: "# one\n", want: []string{"# one\n"}},
		{name: "byte order mark", file: "a.txt", content: "\ufeffone", want: []string{"one"}},
		{name: "replacement characters are text", file: "a.txt", content: "a\ufffdb", want: []string{"a\ufffdb"}},
		{name: "strings", file: "a.json", content: `["one", "two"]`, want: []string{"one", "two"}},
		{name: "objects", file: "a.json", content: `[{"text": "one"}, {"text": ""}]`, want: []string{"one", ""}},
		{name: "another field", file: "a.json", content: `[{"body": "one", "text": 3}]`, field: "body", want: []string{"one"}},
		{name: "lines", file: "a.jsonl", content: "{\"text\": \"one\"}\n\n\"two\"", want: []string{"one", "two"}},
		{name: "capital extension", file: "a.JSONL", content: "\"one\"\r\n", want: []string{"one"}},

		{name: "empty", file: "a.txt", err: "holds no text"},
		{name: "no items", file: "a.json", content: "[]", err: "holds no text"},
		{name: "one object after another", file: "a.json", content: `{"text": "one"} {"text": "two"}`, want: []string{"one", "two"}},
		{name: "a column of a table", file: "a.csv", content: "id,text\n1,one\n2,\"two, three\"\n", want: []string{"one", "two, three"}},
		{name: "cut", file: "a.json", content: `["one"`, err: "byte 6: not JSON: unexpected EOF"},
		{name: "no field", file: "a.json", content: `[{"text": "one"}, {"body": "two", "a": 1}]`, err: `item 1: has no column "text" (it has: body, a); name the field that holds the text with --field`},
		{name: "field of another kind", file: "a.jsonl", content: `{"text": ["one"]}`, err: `line 1: column "text" holds a list, not a string`},
		{name: "null field", file: "a.jsonl", content: `{"text": null}`, err: `line 1: column "text" holds null, not a string`},
		{name: "null", file: "a.jsonl", content: "\"one\"\nnull", err: "line 2: neither a string nor an object"},
		{name: "not JSON", file: "a.jsonl", content: "\"one\"\n{", err: "line 2: not JSON"},
		{name: "bad UTF-8", file: "a.txt", content: "one\xff", err: "byte 3: not valid UTF-8"},
		{name: "bad UTF-8 in a line", file: "a.jsonl", content: "\"one\"\n\"\xff\"", err: "line 2: not JSON: invalid UTF-8"},
		{name: "bad UTF-8 in JSON", file: "a.json", content: "[\"\xff\"]", err: "invalid UTF-8"},
		{name: "unknown kind", file: "a.doc", content: "text", err: `unknown kind of file ".doc"; valid ones: .txt, .json, .jsonl, .csv`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.file, c.content)
			got, err := ReadTexts(path, c.field)
			checkError(t, err, path, c.err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("texts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadTokens(t *testing.T) {
	for _, c := range []struct {
		name, content string
		want          [][]int32
		err           string
	}{
		{name: "as given", content: " [[1, 2], [9]] ", want: [][]int32{{1, 2}, {9}}},
		{name: "bounds", content: "[[0, 9]]", want: [][]int32{{0, 9}}},
		{name: "out of range", content: "[[1], [2, 10]]", err: "sequence 1, index 1: token id 10 is outside the vocabulary of 10"},
		{name: "negative", content: "[[-1]]", err: "sequence 0, index 0: token id -1"},
		{name: "beyond 64 bits", content: "[[99999999999999999999]]", err: "sequence 0, index 0: token id 99999999999999999999"},
		{name: "float", content: "[[1.0]]", err: "sequence 0, index 0: 1.0 is not an integer"},
		{name: "exponent", content: "[[1e1]]", err: "1e1 is not an integer"},
		{name: "bool", content: "[[true]]", err: "sequence 0, index 0: not a token id"},
		{name: "null", content: "[[1, null]]", err: "sequence 0, index 1: not a token id"},
		{name: "nested", content: "[[[1]]]", err: "sequence 0, index 0: not a token id"},
		{name: "empty sequence", content: "[[1], []]", err: "sequence 1: is empty"},
		{name: "flat", content: "[1]", err: "sequence 0: not a list"},
		{name: "no sequence", content: "[]", err: "holds no sequence"},
		{name: "object", content: "{}", err: "not a list"},
		{name: "nothing", content: "", err: "not JSON: unexpected EOF"},
		{name: "cut", content: "[[1], [2", err: "not JSON: unexpected EOF"},
		{name: "two lists", content: "[[1]][[2]]", err: "has more after"},
		{name: "commas", content: "[[1 2]]", err: "not JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "tokens.json", c.content)
			got, err := ReadTokens(path, 10)
			checkError(t, err, path, c.err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("sequences (-want +got):\n%s", diff)
			}
		})
	}
}

func checkError(t *testing.T, err error, path, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Fatal(err)
	case want != "" && err == nil:
		t.Fatalf("no error, want %q", want)
	case want != "" && (!strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path)):
		t.Fatalf("error %q: want the file's name and %q", err, want)
	}
}

func FuzzTokens(f *testing.F) {
	for _, s := range []string{"[[1, 2], [3]]", "[]", "[[", "[[1e3]]", "{}", "[[1]]x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		seqs, err := parseTokens("f", bytes.NewReader(raw), 100)
		if err != nil {
			return
		}
		for _, s := range seqs {
			if len(s) == 0 {
				t.Fatal("an empty sequence came through")
			}
			for _, id := range s {
				if id < 0 || id >= 100 {
					t.Fatalf("id %d came through", id)
				}
			}
		}
	})
}

// Line ends that fall on the edge of two reads.
func TestNewlinesByAnySteps(t *testing.T) {
	const raw, want = "a\r\nb\rc\n\r\n\r\r\nd\r", "a\nb\nc\n\n\n\nd\n"
	for _, r := range []io.Reader{strings.NewReader(raw), iotest.OneByteReader(strings.NewReader(raw)), iotest.HalfReader(strings.NewReader(raw)), iotest.DataErrReader(strings.NewReader(raw))} {
		if got, err := io.ReadAll(&newlines{r: r}); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
}

// A few bytes that unpack to many.
func TestPackedTextIsBounded(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(bytes.Repeat([]byte("a"), 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := write(t, "a.txt.gz", b.String())
	if texts, err := readWithin(path, 200_000); err != nil || len(texts[0]) != 100_000 {
		t.Errorf("within the limit: %v", err)
	}
	if _, err := readWithin(path, 50_000); err == nil || !strings.Contains(err.Error(), "unpacked, more than the limit of 50000 bytes") {
		t.Errorf("over the limit: %v", err)
	}
}
