package report

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLines is the contract: what scripts see of lines that hold as little as
// they can. Names may be added here, never changed.
func TestLines(t *testing.T) {
	for _, c := range []struct {
		line Line
		want string
	}{
		{Model{}, `{"type":"model","path":"","architecture":"","family":"","layers":0,"hidden":0,"heads":0,"kv_heads":0,"head_dim":0,"feed_forward":0,"vocab":0,"max_positions":0,"parameters":0,"bytes":0,"dtype":"","tied":false,"macs_per_token":0,"problems":[]}`},
		{Layer{Index: 3}, `{"type":"layer","index":3,"parameters":0,"bytes":0}`},
		{File{Name: "<a&b>"}, `{"type":"file","name":"<a&b>","bytes":0}`},
		{Tokens{}, `{"type":"tokens","index":0,"ids":[]}`},
		{Text{}, `{"type":"text","index":0,"text":""}`},
		{LogProbs{}, `{"type":"logprobs","index":0,"logprobs":[],"greedy":[]}`},
		{LogProbs{LogProbs: Numbers([]float64{-1.5, -0.1}), Greedy: []bool{true, false}}, `{"type":"logprobs","index":0,"logprobs":[-1.5,-0.1],"greedy":[true,false]}`},
		{Summary{Loss: Number(math.NaN()), Perplexity: Number(math.Inf(1))}, `{"type":"summary","tokens":0,"loss":null,"perplexity":null,"greedy":0,"seconds":0,"device":"","dtype":"","provider":"","threads":0}`},
		{Perplexity{}, `{"type":"perplexity","tokens":0,"loss":0,"perplexity":0,"data":"","rows":0,"join":"","bos":false,"length":0,"windows":0,"dropped":0,"convention":"","sha256":"","seconds":0,"device":"","dtype":"","provider":"","threads":0}`},
		{Generation{}, `{"type":"generation","index":0,"ids":[],"text":null,"finish":"","device":"","dtype":"","provider":"","threads":0}`},
		{Ranking{Scores: Numbers([]float64{1, math.NaN()})}, `{"type":"ranking","metric":"","direction":"","scores":[1,null],"order":[],"protected":[],"seed":0,"sequences":0,"tokens":0}`},
		{Blocks{}, `{"type":"blocks","metric":"","direction":"","block":0,"scores":[],"best":0,"order":[],"protected":[],"sequences":0,"tokens":0}`},
		{Curve{}, `{"type":"curve","metric":"","order":[],"dropped":[],"loss":[],"perplexity":[],"sequences":0,"tokens":0,"device":"","dtype":"","provider":"","threads":0}`},
		{Variant{}, `{"type":"variant","plan":"","drop":[],"loss":0,"perplexity":0,"tokens":0,"parameters":0,"macs_per_token":0,"device":"","dtype":"","provider":"","threads":0}`},
		{Sizes{}, `{"type":"sizes","layers":0,"parameters":0,"bytes":0,"float32_bytes":0,"kv_bytes_per_token":0,"tokens":0,"macs":0,"attention_macs":0,"paper_macs":0}`},
		{Plan{}, `{"type":"plan","layers":0,"keep":[],"drop":[],"parameters":0,"parameters_before":0,"bytes":0,"bytes_before":0,"source":""}`},
		{Written{}, `{"type":"written","path":"","bytes":0,"seconds":0}`},
		{Selfcheck{MaxError: Number(math.NaN())}, `{"type":"selfcheck","max_error":null,"mean_error":0,"tolerance":0,"greedy":0,"ok":false,"sequences":0,"positions":0,"reference":"","reference_dtype":"","reference_versions":null,"device":"","dtype":"","provider":"","threads":0}`},
		{Version{}, `{"type":"version","version":"","go":"","os":"","arch":"","simd":false,"schema":1}`},
		{Warning{}, `{"type":"warning","message":""}`},
		{Note{}, `{"type":"note","message":""}`},
		{Error{Code: 64}, `{"type":"error","code":64,"message":"","hint":""}`},
	} {
		var b bytes.Buffer
		if err := Write(&b, c.line); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want+"\n", b.String()); diff != "" {
			t.Errorf("%T (-want +got):\n%s", c.line, diff)
		}
	}
	var b bytes.Buffer
	if err := Write(&b, Bench{}); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"what", "shape", "dtype", "tokens", "tokens_per_second", "gemm_gflops", "limit_tokens_per_second", "ratio"} {
		if !strings.Contains(b.String(), `"`+field+`":`) {
			t.Errorf("a bench line lacks %q", field)
		}
	}
}

func TestTable(t *testing.T) {
	table := &Table{Header: []string{"file", "bytes"}}
	table.Add(String("modèle"), Bytes(3<<30))
	table.Add(String("a\tb"), Bytes(7))
	var aligned, tsv bytes.Buffer
	if err := table.WriteAligned(&aligned); err != nil {
		t.Fatal(err)
	}
	if err := table.WriteTSV(&tsv); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("file    bytes\nmodèle  3 GiB\na\tb       7 B\n", aligned.String()); diff != "" {
		t.Errorf("aligned (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("file\tbytes\nmodèle\t3221225472\na\\tb\t7\n", tsv.String()); diff != "" {
		t.Errorf("tsv (-want +got):\n%s", diff)
	}
}

func TestFormats(t *testing.T) {
	for got, want := range map[string]string{
		FormatCount(999):                "999",
		FormatCount(1_235_814_400):      "1.24 B",
		FormatCount(999_999):            "1 M",
		FormatBytes(1023):               "1023 B",
		FormatBytes(1<<20 + 1<<19):      "1.5 MiB",
		FormatBytes(1<<20 - 1):          "1 MiB",
		FormatLayers(nil):               "",
		FormatLayers([]int{3}):          "3",
		FormatLayers([]int{0, 1, 2, 7}): "0-2,7",
		FormatLayers([]int{7, 6, 2, 3}): "7,6,2-3",
		Number(math.NaN()).String():     "-",
		Number(1234567.8).String():      "1.23457e+06",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestReadRankings(t *testing.T) {
	const good = `{"type":"ranking","metric":"bi","direction":"lowest","scores":[1,null,3],"order":[0,2],"protected":[1]}`
	for _, c := range []struct{ name, content, err string }{
		{"one", good, ""},
		{"other lines", "{\"type\":\"summary\"}\n\n" + good + "\n", ""},
		{"none", `{"type":"plan"}`, "holds no ranking"},
		{"not JSON", good + "\nlayer\tbi\n", "line 2: not a JSON object"},
		{"layer twice", strings.Replace(good, "[0,2]", "[0,0]", 1), "names layer 0"},
		{"layer in both", strings.Replace(good, "[0,2]", "[0,1]", 1), "names layer 1"},
		{"layer too high", strings.Replace(good, "[0,2]", "[0,3]", 1), "names layer 3"},
		{"no order", strings.Replace(good, "[0,2]", "[]", 1), "lacks scores or order"},
		{"scores of another kind", strings.Replace(good, "null", `"x"`, 1), "line 1: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.jsonl")
			if err := os.WriteFile(path, []byte(c.content), 0o666); err != nil {
				t.Fatal(err)
			}
			got, err := ReadRankings(path)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || !strings.HasPrefix(err.Error(), path) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || len(got) != 1 || got[0].Metric != "bi" || got[0].Scores[1].Finite() {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
