package cli

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/safetensors"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"coppice": func() {
			os.Exit(Main(os.Args[1:], System{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Hub: impatient}))
		},
		"mkmodel": mkmodel,
	})
}

var update = flag.Bool("update", false, "rewrite the expected output inside the scripts")

// TestScripts runs testdata/script/*.txtar, each command a real process.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			// The kernels under test are those the test itself runs with.
			for _, name := range []string{"COPPICE_ONEDNN", "COPPICE_KERNELS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"} {
				e.Setenv(name, os.Getenv(name))
			}
			e.Setenv("COPPICE_CACHE", filepath.Join(e.WorkDir, ".cache"))
			trained, err := filepath.Abs(filepath.Join("..", "..", "testdata", "trained"))
			e.Setenv("TRAINED", trained)
			setUpHub(e)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"fields":    fields,
			"lines":     lines,
			"replace":   replace,
			"overwrite": overwrite,
			"shorten":   shorten,
			"interrupt": interrupt,
			"loss":      sameLoss,
			"point":     point,
			"results":   results,
			"last":      last,
			"nothing":   nothing,
			"hub":       hubCommand,
		},
	})
}

// mkmodel DIR [flags] writes a seeded pico model: a Llama, or what -config says.
func mkmodel() {
	var o testkit.Options
	f := flag.NewFlagSet("mkmodel", flag.ExitOnError)
	f.IntVar(&o.Layers, "layers", 0, "")
	f.IntVar(&o.Hidden, "hidden", 0, "")
	f.IntVar(&o.FF, "ff", 0, "")
	f.IntVar(&o.Vocab, "vocab", 0, "")
	f.IntVar(&o.Shards, "shards", 0, "")
	f.IntVar(&o.MaxPositions, "positions", 0, "")
	f.BoolVar(&o.Tied, "tied", false, "")
	f.BoolVar(&o.Torch, "torch", false, "")
	f.BoolVar(&o.Tokenizer, "tokenizer", true, "")
	f.Uint64Var(&o.Seed, "seed", 7, "")
	dtype := f.String("dtype", "BF16", "")
	config := f.String("config", "", "")
	_ = f.Parse(os.Args[1:])
	o.DType = safetensors.DType(*dtype)
	write := func() error { return testkit.WriteLlama(f.Arg(0), o) }
	if *config != "" {
		write = func() error {
			raw, err := os.ReadFile(*config)
			if err != nil {
				return err
			}
			return enginetest.WriteModel(f.Arg(0), raw, o.Seed)
		}
	}
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// exits CODE COMMAND… runs a command and wants that exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// fields FROM FILE writes one line for every type of line in FROM: the type,
// then the names and kinds of its fields.
func fields(ts *testscript.TestScript, _ bool, args []string) {
	var out []string
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		out = append(out, shape(ts, line))
	}
	slices.Sort(out)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(slices.Compact(out), "\n")+"\n"), 0o666))
}

func shape(ts *testscript.TestScript, line string) string {
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(line), &object))
	var parts []string
	for key, value := range object {
		if key != "type" {
			parts = append(parts, key+":"+kind(value))
		}
	}
	slices.Sort(parts)
	return fmt.Sprintf("%v %s", object["type"], strings.Join(parts, " "))
}

func kind(v any) string {
	switch v := v.(type) {
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "bool"
	case []any:
		if len(v) > 0 {
			return "[" + kind(v[0]) + "]"
		}
		return "[]"
	case nil:
		return "null"
	}
	return "object"
}

// lines TYPE FROM FILE copies the JSON lines of one type, byte for byte.
func lines(ts *testscript.TestScript, _ bool, args []string) {
	var out []byte
	in := bufio.NewScanner(strings.NewReader(ts.ReadFile(args[1])))
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		if bytes.HasPrefix(in.Bytes(), []byte(`{"type":"`+args[0]+`"`)) {
			out = append(append(out, in.Bytes()...), '\n')
		}
	}
	if len(out) == 0 {
		ts.Fatalf("%s has no line of type %s", args[1], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), out, 0o666))
}

// loss A B wants the first lines of two files to have one loss, to the bit.
func sameLoss(ts *testscript.TestScript, _ bool, args []string) {
	var loss [2]float64
	for i, name := range args {
		var object struct{ Loss float64 }
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(name)), &object))
		loss[i] = object.Loss
	}
	if loss[0] != loss[1] || loss[0] == 0 {
		ts.Fatalf("loss %v and %v", loss[0], loss[1])
	}
}

// point SUMMARY CURVE N wants point N of a curve to have the loss of a summary.
func point(ts *testscript.TestScript, _ bool, args []string) {
	var summary struct{ Loss float64 }
	var curve struct{ Loss []float64 }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &summary))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &curve))
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	if d := summary.Loss - curve.Loss[n]; d > 1e-12 || d < -1e-12 {
		ts.Fatalf("loss %v, and point %d of the curve is %v", summary.Loss, n, curve.Loss[n])
	}
}

// results LINES CURVE N wants point N of a curve of tasks to be what the lines
// of eval say, all of them, to the bit.
func results(ts *testscript.TestScript, _ bool, args []string) {
	var curve report.Curve
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &curve))
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	var want, got []report.Result
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var r report.Result
		ts.Check(json.Unmarshal([]byte(line), &r))
		want = append(want, report.Result{Task: r.Task, Metric: r.Metric, Value: r.Value, N: r.N, Group: r.Group})
	}
	for _, t := range curve.Tasks {
		got = append(got, report.Result{Task: t.Task, Metric: t.Metric, Value: t.Values[n], N: t.N, Group: t.Group})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		ts.Fatalf("point %d is not what eval says (-eval +curve):\n%s", n, diff)
	}
}

// last FROM TO copies the last line of a file.
func last(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), "\n")
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(lines[len(lines)-1]+"\n"), 0o666))
}

// nothing GLOB wants no file to match; "*" alone would not match hidden ones.
func nothing(ts *testscript.TestScript, _ bool, args []string) {
	found, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(found) > 0 {
		ts.Fatalf("left behind: %v", found)
	}
}

// replace FILE OLD NEW changes a text that must be there.
func replace(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, []byte(strings.ReplaceAll(text, args[1], args[2])), 0o666))
}

// overwrite FILE BYTES-FROM-THE-END HEX damages a file.
func overwrite(ts *testscript.TestScript, _ bool, args []string) {
	raw := []byte(ts.ReadFile(args[0]))
	back, err := strconv.Atoi(args[1])
	ts.Check(err)
	value, err := hex.DecodeString(args[2])
	ts.Check(err)
	copy(raw[len(raw)-back:], value)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), raw, 0o666))
}

// shorten FILE BYTES cuts bytes off the end.
func shorten(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), info.Size()-n))
}

// interrupt SIGNAL CODE GLOB COMMAND… runs a background-able command, sends the
// signal once something matches the pattern, a file when it is no longer empty,
// and wants that exit code. A command that was too quick is run again. Its stderr
// goes to the file "interrupted".
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	signal := map[string]os.Signal{"INT": os.Interrupt, "TERM": terminate}[args[0]]
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	pattern := ts.MkAbs(args[2])
	for range 20 {
		if code, sent := signalled(ts, signal, pattern, args[3:]); sent && code != 0 {
			if code != want {
				ts.Fatalf("exit code %d, want %d", code, want)
			}
			return
		}
		// It was finished first: clear its output away and try again.
		found, _ := filepath.Glob(pattern)
		for _, path := range append(found, ts.MkAbs("out")) {
			ts.Check(os.RemoveAll(path))
		}
	}
	ts.Fatalf("the command is too quick to be interrupted")
}

// begun reports whether something matches the pattern that has content.
func begun(pattern string) bool {
	found, _ := filepath.Glob(pattern)
	return slices.ContainsFunc(found, func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && (info.IsDir() || info.Size() > 0)
	})
}

func signalled(ts *testscript.TestScript, signal os.Signal, pattern string, command []string) (code int, sent bool) {
	path, err := exec.LookPath(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], command[0]))
	ts.Check(err)
	c := exec.Command(path, command[1:]...)
	c.Dir = ts.MkAbs(".")
	c.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"), "HF_HOME="+ts.Getenv("HF_HOME"), "HF_ENDPOINT="+ts.Getenv("HF_ENDPOINT"), "HF_TOKEN="+ts.Getenv("HF_TOKEN"), "COPPICE_CACHE="+ts.Getenv("COPPICE_CACHE"))
	var stderr bytes.Buffer
	c.Stderr = &stderr
	ts.Check(c.Start())
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	for {
		if !sent && begun(pattern) {
			sent = c.Process.Signal(signal) == nil
		}
		select {
		case <-done:
			ts.Check(os.WriteFile(ts.MkAbs("interrupted"), stderr.Bytes(), 0o666))
			if c.ProcessState.ExitCode() == exitFailed {
				ts.Fatalf("failed: %s", stderr.String())
			}
			return c.ProcessState.ExitCode(), sent
		case <-time.After(200 * time.Microsecond):
		}
	}
}
