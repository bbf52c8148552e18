package coppice

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/coppice-ml/coppice"

// sourcePackage is a directory with Go files that are not tests.
type sourcePackage struct {
	dir   string // relative to the module, with slashes
	files []sourceFile
}

type sourceFile struct {
	name   string
	syntax *ast.File
}

// parsePackages parses every file, whatever its build constraints, and leaves
// test files out.
func parsePackages(t *testing.T) []sourcePackage {
	t.Helper()
	byDir := map[string]*sourcePackage{}
	positions := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(positions, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(name))
		if byDir[dir] == nil {
			byDir[dir] = &sourcePackage{dir: dir}
		}
		byDir[dir].files = append(byDir[dir].files, sourceFile{filepath.ToSlash(name), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var out []sourcePackage
	for _, p := range byDir {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b sourcePackage) int { return strings.Compare(a.dir, b.dir) })
	return out
}

// Every package says in its doc comment what belongs in it and what does not,
// which takes more than one line.
func TestPackageComments(t *testing.T) {
	for _, p := range parsePackages(t) {
		var docs []string
		for _, f := range p.files {
			if f.syntax.Doc != nil {
				docs = append(docs, f.syntax.Doc.Text())
			}
		}
		switch {
		case len(docs) != 1:
			t.Errorf("%s: %d package comments, want one", p.dir, len(docs))
		case strings.Count(strings.TrimSpace(docs[0]), "\n") < 1:
			t.Errorf("%s: its package comment is one line: say what belongs here and what does not", p.dir)
		}
	}
}

// Nothing happens before main and nothing is remembered outside values: no
// init, no package-level variables but those that nobody assigns to.
func TestNoPackageState(t *testing.T) {
	for _, p := range parsePackages(t) {
		for _, f := range p.files {
			for _, d := range f.syntax.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Recv == nil && d.Name.Name == "init" {
						t.Errorf("%s: func init", f.name)
					}
				case *ast.GenDecl:
					checkVariables(t, f.name, d)
				}
			}
		}
	}
}

func checkVariables(t *testing.T, file string, d *ast.GenDecl) {
	t.Helper()
	if d.Tok != token.VAR {
		return
	}
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		for i, name := range v.Names {
			if name.Name == "_" || embedded(d, v) || i < len(v.Values) && constant(v.Values[i]) {
				continue
			}
			t.Errorf("%s: package-level variable %s: pass the value in, or return it from a function", file, name.Name)
		}
	}
}

// embedded reports a //go:embed variable.
func embedded(d *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{d.Doc, v.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// constant reports values that cannot change: error sentinels and compiled
// regular expressions.
func constant(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := f.X.(*ast.Ident)
	if !ok {
		return false
	}
	switch from.Name + "." + f.Sel.Name {
	case "errors.New", "fmt.Errorf", "regexp.MustCompile":
		return true
	}
	return false
}
