package cli

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/internal/testkit"
)

// Buffers that older checkpoints carry are named, and no problem.
func TestInspectIgnored(t *testing.T) {
	for family, want := range map[string]string{"vicuna": "tensors: rotary_emb.inv_freq", "chatglm2": "not read\t1 tensor: rotary_pos_emb.inv_freq", "baichuan": ""} {
		t.Run(family, func(t *testing.T) {
			dir := filepath.Join(testkit.GoldenDir(t, family), "checkpoint_bin")
			var out, errs bytes.Buffer
			env := func(string) string { return t.TempDir() }
			if code := Main([]string{"inspect", dir, "--deep"}, System{Out: &out, Err: &errs, Getenv: env}); code != exitOK {
				t.Fatalf("exit code %d: %s%s", code, out.String(), errs.String())
			}
			if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "not read") != (want != "") {
				t.Errorf("lacks %q:\n%s", want, out.String())
			}
		})
	}
}
