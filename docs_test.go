package coppice

import (
	"go/parser"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/score"
)

func readDoc(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestDocsName: the documents name everything there is of what they describe.
func TestDocsName(t *testing.T) {
	metrics := readDoc(t, "docs/metrics.md")
	for _, m := range score.Metrics() {
		if !strings.Contains(metrics, "`"+m.Name+"`") {
			t.Errorf("docs/metrics.md lacks %s", m.Name)
		}
	}
	paper := readDoc(t, "docs/paper.md")
	recipes, err := os.ReadDir("run/recipes")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recipes {
		if !strings.Contains(paper, "`"+strings.TrimSuffix(r.Name(), ".yaml")+"`") {
			t.Errorf("docs/paper.md lacks %s", r.Name())
		}
	}
	families := readDoc(t, "docs/families.md")
	for _, name := range model.Architectures() {
		if name == "ChatGLMForConditionalGeneration" { // another name of ChatGLMModel
			continue
		}
		if !strings.Contains(families, "`"+name+"`") {
			t.Errorf("docs/families.md lacks %s", name)
		}
	}
}

// TestHouse: ARCHITECTURE.md lists every package, and the files it names are there.
func TestHouse(t *testing.T) {
	doc := readDoc(t, "ARCHITECTURE.md")
	house := strings.Split(doc, "```")[1]
	packages := map[string]bool{}
	for _, s := range sources(t, parser.PackageClauseOnly) {
		packages[s.dir] = true
	}
	delete(packages, ".")
	for dir := range packages {
		name := strings.TrimPrefix(strings.TrimPrefix(dir, "internal/"), "engine/")
		if !regexp.MustCompile(`(^|[\s,/])` + regexp.QuoteMeta(name) + `([\s,;:]|$)`).MatchString(house) {
			t.Errorf("ARCHITECTURE.md lacks %s", dir)
		}
	}
	for _, m := range regexp.MustCompile("`([a-z0-9_/.-]+/[a-z0-9_.-]+)`").FindAllStringSubmatch(doc, -1) {
		if _, err := os.Stat(m[1]); err != nil {
			t.Errorf("ARCHITECTURE.md names %s: %v", m[1], err)
		}
	}
}

// TestDependencies: docs/dependencies.md names every module that go.mod requires
// itself.
func TestDependencies(t *testing.T) {
	doc := readDoc(t, "docs/dependencies.md")
	direct := regexp.MustCompile(`(?m)^(?:require)?\s+(\S+) v\S+$`)
	found := direct.FindAllStringSubmatch(readDoc(t, "go.mod"), -1)
	if len(found) < 10 {
		t.Fatalf("%d modules in go.mod", len(found))
	}
	for _, m := range found {
		name := path.Base(regexp.MustCompile(`/v\d+$`).ReplaceAllString(m[1], ""))
		if !strings.Contains(doc, name) {
			t.Errorf("docs/dependencies.md lacks %s", m[1])
		}
	}
}

// TestLinks: links between documents lead somewhere.
func TestLinks(t *testing.T) {
	docs, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	for _, doc := range append(docs, top...) {
		for _, m := range link.FindAllStringSubmatch(readDoc(t, doc), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s: %v", doc, err)
			}
		}
	}
}
