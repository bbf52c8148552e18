package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/coppice-ml/coppice/report"
)

// inspect --config-only counts the parameters of published models, from their
// configs alone.
func TestInspectPublishedConfigs(t *testing.T) {
	for name, want := range map[string]int64{
		"llama-3.1-8b":           8_030_261_248,
		"llama-3.1-8b-24-layers": 6_285_365_248,
		"vicuna-7b-v1.5":         6_738_415_616,
		"qwen1.5-7b":             7_721_324_544,
		"gemma-2-2b":             2_614_341_888,
		"baichuan2-7b":           7_505_973_248,
		"chatglm2-6b":            6_243_584_000,
		"gemma-3-1b":             999_885_952,
		"phi-4-mini":             3_836_021_760,
		"smollm3-3b":             3_075_098_624,
		"olmo-2-7b":              7_298_617_344,
		"granite-3.3-8b":         8_170_864_640,
		"glm-4-9b-0414":          9_400_279_040,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("..", "..", "model", "testdata", "configs", name)
			var out, errs bytes.Buffer
			if code := Main([]string{"inspect", dir, "--config-only", "--json"}, System{Out: &out, Err: &errs, Getenv: func(string) string { return "" }}); code != exitOK {
				t.Fatalf("exit code %d: %s", code, errs.String())
			}
			first, err := bufio.NewReader(&out).ReadBytes('\n')
			if err != nil {
				t.Fatal(err)
			}
			var got report.Model
			if err := json.Unmarshal(first, &got); err != nil {
				t.Fatal(err)
			}
			size := int64(2)
			if got.DType == "float32" {
				size = 4
			}
			if got.Parameters != want || got.Bytes != size*want {
				t.Errorf("%d parameters in %d bytes, want %d of %d bytes each", got.Parameters, got.Bytes, want, size)
			}
		})
	}
}
