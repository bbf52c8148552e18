package page

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"os"
	"path/filepath"

	"github.com/coppice-ml/coppice/internal/wholefile"
	"github.com/coppice-ml/coppice/report/digest"
)

// Names of the files of a report.
const (
	HTMLFile     = "report.html"
	MarkdownFile = "report.md"
	LaTeXFile    = "report.tex"
	CSVFile      = "results.csv"
)

//go:embed page.html
var pageFile string

//go:embed page.css
var styleFile string

//go:embed page.js
var scriptFile string

// Report reads runs, or trials of them, and writes a report of them to a directory; ""
// is the first of them itself. It returns the path of the page. Errors: as of
// digest.Open, and the system's.
func Report(out string, paths ...string) (string, error) {
	d, err := digest.Open(paths...)
	if err != nil {
		return "", err
	}
	return Write(d, cmp.Or(out, d.Dir))
}

// Write writes a report of the runs to a directory, each file complete or not at all,
// and returns the path of the page.
func Write(d *digest.Digest, dir string) (string, error) {
	v, err := newView(d)
	if err != nil {
		return "", err
	}
	if len(d.Runs) == 1 && sameDir(d.Runs[0].Path, dir) {
		v.Links = links(d)
	} else {
		v.Links = links(&digest.Digest{})
	}
	page, err := v.html()
	if err != nil {
		return "", err
	}
	for name, content := range map[string][]byte{HTMLFile: page, MarkdownFile: v.markdown(), LaTeXFile: v.latex(), CSVFile: csvOf(d)} {
		if err := wholefile.Bytes(filepath.Join(dir, name), content); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, HTMLFile), nil
}

func sameDir(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// html is the page: one file, which asks for nothing, and says so to the browser.
func (v *view) html() ([]byte, error) {
	t, err := template.New("page").Parse(pageFile)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(scriptFile))
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		*view
		Style  template.CSS
		Script template.JS
		Policy string
	}{v, template.CSS(styleFile), template.JS(scriptFile), "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"})
	return b.Bytes(), err
}
