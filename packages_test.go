package coppice

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// source is one Go file of the module, whatever its build tags.
type source struct {
	dir  string // relative to the root, "." for the root itself
	name string
	file *ast.File
}

func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

// sources parses every Go file of the module.
func sources(t *testing.T, mode parser.Mode) []source {
	t.Helper()
	var all []source
	files := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		f, err := parser.ParseFile(files, path, nil, mode)
		if err != nil {
			return err
		}
		all = append(all, source{dir: filepath.ToSlash(filepath.Dir(path)), name: d.Name(), file: f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d Go files found", len(all))
	}
	return all
}

// TestEveryPackageSaysWhatItIsFor wants a package comment of more than one
// sentence: what belongs here, and what does not.
func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	docs := map[string]string{}
	for _, s := range sources(t, parser.ParseComments|parser.PackageClauseOnly) {
		if s.isTest() {
			continue
		}
		docs[s.dir] += s.file.Doc.Text()
	}
	for dir, doc := range docs {
		if strings.Count(strings.TrimSpace(doc), "\n") < 2 {
			t.Errorf("%s: the package comment %q is too short: say what belongs in the package and what does not", dir, doc)
		}
	}
}

// TestNoHiddenState refuses init functions and package-level variables that
// can change: only errors, embedded files and interface checks stand there.
func TestNoHiddenState(t *testing.T) {
	for _, s := range sources(t, parser.ParseComments|parser.SkipObjectResolution) {
		if s.isTest() {
			continue
		}
		for _, decl := range s.file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == "init" && d.Recv == nil {
					t.Errorf("%s/%s: func init: pass values in instead", s.dir, s.name)
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					checkVariables(t, s, d)
				}
			}
		}
	}
}

func checkVariables(t *testing.T, s source, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		for i, name := range v.Names {
			if name.Name == "_" || embedded(d, v) || len(v.Values) > i && isError(v.Values[i]) {
				continue
			}
			t.Errorf("%s/%s: package-level variable %s: use a function that returns it, or pass it in", s.dir, s.name, name.Name)
		}
	}
}

func embedded(d *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, group := range []*ast.CommentGroup{d.Doc, v.Doc} {
		if group != nil && strings.Contains(group.List[len(group.List)-1].Text, "go:embed") {
			return true
		}
	}
	return false
}

func isError(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	return ok && (f.Sel.Name == "New" || f.Sel.Name == "Errorf")
}

// TestNobodyBranchesOnAFamily: what a model does differently is a field of its
// Spec, so nothing compares the names of families or architectures, except the
// file of a family that has several (config.name).
func TestNobodyBranchesOnAFamily(t *testing.T) {
	for _, s := range sources(t, parser.SkipObjectResolution) {
		if s.isTest() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			var operands []ast.Expr
			switch n := n.(type) {
			case *ast.BinaryExpr:
				operands = []ast.Expr{n.X, n.Y}
			case *ast.SwitchStmt:
				operands = []ast.Expr{n.Tag}
			case *ast.IndexExpr:
				operands = []ast.Expr{n.Index}
			}
			for _, e := range operands {
				if f, ok := e.(*ast.SelectorExpr); ok && (f.Sel.Name == "Family" || f.Sel.Name == "Architecture") {
					t.Errorf("%s/%s: looks at %s: give model.Spec a field for what differs", s.dir, s.name, f.Sel.Name)
				}
			}
			return true
		})
	}
}
