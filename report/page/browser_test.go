package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/coppice-ml/coppice/run/rundir"
)

// browser starts a Chromium without a window and gathers what it asks for and what it
// complains of.
type browser struct {
	context.Context
	mu       sync.Mutex
	requests []string
	trouble  []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("there is no Chromium here (Debian: apt-get install chromium): the page is not looked at")
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()))
	allocated, done := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(done)
	first, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	if err := chromedp.Do(first); err != nil {
		t.Skipf("Chromium does not start here: %v", err)
	}
	ctx, stop := context.WithTimeout(first, 3*time.Minute)
	t.Cleanup(stop)
	b := &browser{Context: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			b.requests = append(b.requests, e.Request.URL)
		case *runtime.EventExceptionThrown:
			b.trouble = append(b.trouble, e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			b.trouble = append(b.trouble, e.Entry.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, b, chromedp.Func(func(ctx context.Context, to *chromedp.Target) error {
		_, first := cdp.Call(ctx, to, network.Enable, network.EnableParams{})
		_, second := cdp.Call(ctx, to, log.Enable, cdp.Empty{})
		return errors.Join(first, second)
	}))
	return b
}

// run does one thing and returns what comes of it.
func run[T any](t *testing.T, b *browser, action chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(b, action)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// ask evaluates a script.
func ask[T any](t *testing.T, b *browser, script string) T {
	t.Helper()
	return run(t, b, chromedp.Evaluate[T](script))
}

// keep writes a picture to where COPPICE_KEEP says, to be looked at.
func keep(t *testing.T, b *browser, name string) {
	dir := os.Getenv("COPPICE_KEEP")
	if dir == "" {
		return
	}
	raw := run(t, b, chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join(dir, name+".png"), raw, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestPage looks at a page as a reader does.
func TestPage(t *testing.T) {
	b := newBrowser(t)
	m := newMaker(t, "guide")
	m.run.Report = rundir.Report{Published: "table-2", Rows: "healing"}
	m.run.Models[0].From = "meta-llama/Llama-3.1-8B-Instruct"
	m.whole(m.trial(rundir.Axis{Name: "healing", Value: "+last3"}), 300, .7)
	path, err := Report("", m.done())
	if err != nil {
		t.Fatal(err)
	}
	url := "file://" + filepath.ToSlash(path)
	run(t, b, chromedp.Steps(chromedp.EmulateViewport(1280, 800), chromedp.Navigate(url), chromedp.WaitReady("footer")))
	t.Run("first screen", func(t *testing.T) { firstScreen(t, b) })
	t.Run("charts", func(t *testing.T) { drawnCharts(t, b) })
	t.Run("tables", func(t *testing.T) { sortedAndFiltered(t, b) })
	t.Run("print", func(t *testing.T) { printed(t, b) })
	t.Run("sizes", func(t *testing.T) { sizes(t, b) })
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		if r != url && !strings.HasPrefix(r, url+"#") {
			t.Errorf("the page asks for %s", r)
		}
	}
	if len(b.requests) == 0 {
		t.Error("no request was seen, not even the page's own")
	}
	for _, text := range b.trouble {
		t.Errorf("the browser says: %s", text)
	}
}

// firstScreen: all that matters most is seen without scrolling at 1280 x 800.
func firstScreen(t *testing.T, b *browser) {
	for selector, n := range map[string]int{"h1": 1, ".paper": 1, ".first .strip .layers i": madeLayers, ".first .strip .gone": 3, ".tile": 5, ".main svg": 1, ".warn li": 1, ".again code": 1, ".links a": 5} {
		seen := ask[int](t, b, fmt.Sprintf(`[...document.querySelectorAll(%q)].filter(e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0 && r.top >= 0 && r.bottom <= 800 && r.left >= 0 && r.right <= 1280 }).length`, selector))
		if seen < n {
			t.Errorf("%s: %d on the first screen, want %d", selector, seen, n)
		}
	}
	keep(t, b, "first")
}

// drawnCharts: every chart has a size and lines in it, inside its card.
func drawnCharts(t *testing.T, b *browser) {
	bad := ask[[]string](t, b, `[...document.querySelectorAll("svg.chart")].filter(s => {
		const r = s.getBoundingClientRect(), c = s.parentElement.getBoundingClientRect();
		return r.width < 200 || r.height < 100 || r.right > c.right || s.querySelectorAll("path").length < 8 || s.querySelectorAll("text").length < 6;
	}).map(s => s.getAttribute("aria-label"))`)
	if n := ask[int](t, b, `document.querySelectorAll("svg.chart").length`); n < 4 || len(bad) > 0 {
		t.Errorf("of %d charts these are not drawn: %q", n, bad)
	}
	colours := ask[string](t, b, `getComputedStyle(document.querySelector("svg.chart path[style*='--c2']")).fill`)
	if colours != "rgb(0, 114, 178)" {
		t.Errorf("healed is drawn in %s", colours)
	}
}

func sortedAndFiltered(t *testing.T, b *browser) {
	column := `[...document.querySelectorAll("#everything tbody tr")].filter(r => !r.hidden).map(r => r.cells[document.querySelectorAll("#everything th").length - 1].textContent).join(" ")`
	press := func() {
		ask[bool](t, b, `[...document.querySelectorAll("#everything th button")].at(-1).click(), true`)
	}
	if got := ask[string](t, b, column); got != "12 40 17" {
		t.Fatalf("perplexities %s", got)
	}
	press()
	if got := ask[string](t, b, column); got != "40 17 12" {
		t.Errorf("sorted: %s", got)
	}
	press()
	if got := ask[string](t, b, column); got != "12 17 40" {
		t.Errorf("sorted the other way: %s", got)
	}
	run(t, b, chromedp.SendKeys("#everything input", "HEALED last3"))
	if got := ask[string](t, b, column); got != "17" {
		t.Errorf("filtered: %s", got)
	}
	if got := ask[string](t, b, `document.querySelector("#everything output").textContent`); got != "1 of 3" {
		t.Errorf("the filter says %q", got)
	}
}

func printed(t *testing.T, b *browser) {
	raw := run(t, b, chromedp.PrintToPDF(chromedp.PDFPrintBackground()))
	if !bytes.HasPrefix(raw, []byte("%PDF-")) || len(raw) < 20<<10 {
		t.Errorf("%d bytes of PDF", len(raw))
	}
	if dir := os.Getenv("COPPICE_KEEP"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "page.pdf"), raw, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// sizes: at 1280 and 400 pixels, light and dark, nothing sticks out and text can be
// told from its ground.
func sizes(t *testing.T, b *browser) {
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 400} {
			run(t, b, chromedp.Steps(chromedp.EmulateViewport(width, 800), chromedp.Func(func(ctx context.Context, to *chromedp.Target) error {
				_, err := cdp.Call(ctx, to, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				return err
			})))
			ask[bool](t, b, "scrollTo(0, 0), true")
			if got := ask[int64](t, b, "document.documentElement.scrollWidth"); got > width {
				t.Errorf("%s, %d wide: the page is %d wide", scheme, width, got)
			}
			const luminance = `(c => { const v = c.match(/[\d.]+/g).map(x => { x /= 255; return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4 }); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] })`
			for _, text := range []string{"h1", "td", ".note", ".chart text", "nav a, .links a"} {
				ratio := ask[float64](t, b, fmt.Sprintf(`(() => { const l = %s, e = document.querySelector(%q), s = getComputedStyle(e); const a = l(e instanceof SVGElement ? s.fill : s.color), g = l(getComputedStyle(document.body).backgroundColor); return (Math.max(a, g) + .05) / (Math.min(a, g) + .05) })()`, luminance, text))
				if ratio < 4.5 {
					t.Errorf("%s, %s: contrast %.1f, want 4.5", scheme, text, ratio)
				}
			}
			keep(t, b, fmt.Sprintf("%s-%d", scheme, width))
		}
	}
}
