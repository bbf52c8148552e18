package eval

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/coppice-ml/coppice/internal/testkit"
)

func library(t testing.TB) *Library {
	t.Helper()
	l, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func task(t testing.TB, name string) *Task {
	t.Helper()
	found, ok := library(t).Task(name)
	if !ok {
		t.Fatalf("no task %q", name)
	}
	return found
}

// benchmarks is the directory of shared datasets.
func benchmarks(t testing.TB) Dir { return Dir(testkit.Shared(t, "data", "benchmarks")) }

func docs(t testing.TB, d Dir, task *Task, split string) []Doc {
	t.Helper()
	docs, err := d.Docs(task, split)
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func build(t testing.TB, task *Task, docs, fewshot []Doc, opt BuildOptions) *Asked {
	t.Helper()
	a, err := Build(task, docs, fewshot, opt)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestPublished holds what is made of the published benchmarks, which the
// repository may not contain.
func TestPublished(t *testing.T) {
	d := benchmarks(t)
	t.Run("renderings", func(t *testing.T) { publishedRenderings(t, d) })
	t.Run("original files", func(t *testing.T) { originalFiles(t, d) })
	t.Run("known answers", func(t *testing.T) { knownAnswers(t, d) })
	t.Run("counts", func(t *testing.T) { counts(t, d) })
	t.Run("savings", func(t *testing.T) { savings(t, d) })
}

// knownAnswers: the requests of version 0 of two tasks hash to what
// lm-evaluation-harness 0.3.0 recorded, and its pseudo-random log-likelihoods
// come to its numbers.
func knownAnswers(t *testing.T, d Dir) {
	for _, name := range []string{"piqa", "arc_easy"} {
		t.Run(name, func(t *testing.T) {
			task := task(t, name)
			all := docs(t, d, task, task.Split())
			random := NewRandom(42)
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			a := build(t, task, all, nil, BuildOptions{})

			want, err := os.ReadFile(filepath.Join(string(d), name+"-v0-loglikelihood"))
			if err != nil {
				t.Fatal(err)
			}
			if got := hashOfRequests(a); got != strings.TrimSpace(string(want)) {
				t.Errorf("requests hash to %s, want %s", got, want)
			}

			random = NewRandom(42)
			answers := make([]Response, len(a.Requests))
			for i := range answers {
				answers[i].LogProb = -random.Float64()
			}
			metrics, err := a.Score(answers, 0)
			if err != nil {
				t.Fatal(err)
			}
			var recorded struct{ Results map[string]map[string]float64 }
			raw, err := os.ReadFile(filepath.Join(string(d), name+"-v0-res.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &recorded); err != nil {
				t.Fatal(err)
			}
			for _, m := range metrics {
				r := recorded.Results[name]
				if m.Result != r[m.Name] || math.Abs(m.StdErr-r[m.Name+"_stderr"]) > 1e-14 {
					t.Errorf("%s = %v ± %v, want %v ± %v", m.Name, m.Result, m.StdErr, r[m.Name], r[m.Name+"_stderr"])
				}
			}
		})
	}
}

// hashOfRequests is sha256(json.dumps([[context, continuation], …])).
func hashOfRequests(a *Asked) string {
	var b bytes.Buffer
	for i, r := range a.Requests {
		fmt.Fprintf(&b, "%s[%s, %s]", map[bool]string{true: "[", false: ", "}[i == 0], pythonJSON(r.Context), pythonJSON(r.Continuation))
	}
	b.WriteString("]")
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:])
}

// pythonJSON is json.dumps of a text: ASCII, with surrogate pairs.
func pythonJSON(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case strings.ContainsRune("\n\r\t\b\f", r):
			b.WriteString(map[rune]string{'\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}[r])
		case r < 0x20 || r >= 0x7f && r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		case r >= 0x10000:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// counts: how many documents the published splits hold.
func counts(t *testing.T, d Dir) {
	for name, want := range map[string]int{"piqa": 1838, "winogrande": 1267, "arc_easy": 2376, "arc_challenge": 1172, "openbookqa": 500, "mmlu": 14042, "cmmlu": 11582} {
		t.Run(name, func(t *testing.T) {
			s, err := library(t).Select([]string{name})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, task := range s.Tasks {
				n += len(docs(t, d, task, task.Split()))
			}
			if n != want {
				t.Errorf("%d documents in %d tasks, want %d", n, len(s.Tasks), want)
			}
		})
	}
}
