package stage

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/heal"
)

// scalars reads an event file by the format alone: records of a length, four bytes of
// a checksum, an event and four bytes more; an event has its time, a step and a value.
func scalars(t *testing.T, path string) (out []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for first := true; len(raw) > 0; first = false {
		n := binary.LittleEndian.Uint64(raw)
		event := raw[12 : 12+n]
		raw = raw[16+n:]
		if first {
			continue // the version
		}
		step, size := binary.Uvarint(event[10:])
		value := event[10+size+4:]
		tag := string(value[2 : 2+value[1]])
		out = append(out, fmt.Sprint(tag, " ", step, " ", math.Float32frombits(binary.LittleEndian.Uint32(value[3+len(tag):]))))
	}
	return out
}

// TestChart: a run that was broken off goes on in the same series, without the steps
// that its checkpoint has not seen.
func TestChart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.out.tfevents.1.coppice")
	step := func(n int) heal.Event {
		return heal.Event{Step: n, Loss: float64(n), LR: .5, GradNorm: 2, TokensPerSecond: 100}
	}
	write := func(d *healDir, events ...heal.Event) {
		for _, e := range events {
			d.chart(e, time.Unix(int64(e.Step), 0))
		}
		d.close()
		if d.failed != nil {
			t.Fatal(d.failed)
		}
	}
	write(&healDir{path: dir}, step(7)) // of an earlier run
	write(&healDir{path: dir}, heal.Event{Evaluation: true, Loss: 9}, step(1), step(2), heal.Event{Evaluation: true, Step: 2, Loss: 8}, step(3))
	d := &healDir{path: dir}
	if err := d.resumed(heal.State{Step: 2}); err != nil { // saved before its evaluation
		t.Fatal(err)
	}
	write(d, heal.Event{Evaluation: true, Step: 2, Loss: 8}, step(3))
	var want []string
	steps := func(n int) {
		want = append(want, fmt.Sprintf("train/loss %d %d", n, n), fmt.Sprintf("train/learning_rate %d 0.5", n), fmt.Sprintf("train/grad_norm %d 2", n), fmt.Sprintf("train/tokens_per_second %d 100", n))
	}
	want = append(want, "eval/loss 0 9")
	steps(1)
	steps(2)
	want = append(want, "eval/loss 2 8")
	steps(3)
	if got := scalars(t, path); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
