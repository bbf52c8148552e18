package report

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestReadEveryLine: what Write writes of every type of line, Read reads.
func TestReadEveryLine(t *testing.T) {
	for name, read := range readers() {
		blank, err := read([]byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		var first, second bytes.Buffer
		if err := Write(&first, blank); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(first.Bytes(), []byte(`{"type":"`+name+`"`)) {
			t.Errorf("%s begins as %.40s", name, first.String())
		}
		l, err := Read(first.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := Write(&second, l); err != nil || first.String() != second.String() {
			t.Errorf("%s: %v\nwritten %s, read %s", name, err, first.String(), second.String())
		}
	}
	l, err := Read([]byte(`{"type":"ranking","metric":"bi","scores":[0.5,null],"order":[1,0],"from_later":1}`))
	if r, ok := l.(Ranking); err != nil || !ok || r.Scores[0] != .5 || r.Scores[1].Finite() || !slices.Equal(r.Order, []int{1, 0}) {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestReadErrors(t *testing.T) {
	for _, line := range []string{"", "[]", "{", `{"type":1}`, `{"type":"ranking","order":"all"}`} {
		if l, err := Read([]byte(line)); err == nil {
			t.Errorf("%s: %v", line, l)
		}
	}
	var unknown *UnknownError
	if _, err := Read([]byte(`{"type":"later"}`)); !errors.As(err, &unknown) || unknown.Type != "later" {
		t.Errorf("%v", err)
	}
	if _, err := Read([]byte(`{"task":"a"}`)); !errors.As(err, &unknown) || unknown.Type != "" {
		t.Errorf("%v", err)
	}
}

// TestReadersAreComplete: every type that a line has in this package can be read.
func TestReadersAreComplete(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`l\.Type(?:, [\w., ]+)? = "(\w+)"`).FindAllSubmatch(raw, -1) {
			want = append(want, string(m[1]))
		}
	}
	slices.Sort(want)
	if !slices.Equal(want, Types()) {
		t.Errorf("types in the package: %v\nread: %v", want, Types())
	}
}
