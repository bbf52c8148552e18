package data

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lay writes a layout as CONFIG[*]/SPLIT: files, a line each.
func lay(l *Layout) string {
	var b strings.Builder
	for _, c := range l.Configs {
		mark := ""
		if c.Default {
			mark = "*"
		}
		for _, s := range c.Splits {
			fmt.Fprintf(&b, "%s%s/%s: %s\n", c.Name, mark, s.Name, strings.Join(s.Files, " "))
		}
	}
	return b.String()
}

const wikitextCard = `---
license:
- cc-by-sa-3.0
dataset_info:
- config_name: wikitext-2-raw-v1
  features:
  - name: text
    dtype: string
configs:
- config_name: wikitext-103-v1
  data_files:
  - split: test
    path: wikitext-103-v1/test-*
  - split: train
    path: wikitext-103-v1/train-*
- config_name: wikitext-2-raw-v1
  data_files:
  - split: train
    path: wikitext-2-raw-v1/train-*
  - split: validation
    path: wikitext-2-raw-v1/validation-*
---

# Dataset Card
`

func TestDiscover(t *testing.T) {
	for _, c := range []struct {
		name, files, card string
		want, err         string
	}{
		{name: "one file", files: "README.md data.csv .gitattributes", want: "default*/train: data.csv\n"},
		{name: "names", files: "train.csv test.csv validation.csv", want: "default*/train: train.csv\ndefault*/validation: validation.csv\ndefault*/test: test.csv\n"},
		{name: "synonyms and separators", files: "my-training1.jsonl my_dev.jsonl x.eval-2.jsonl", want: "default*/train: my-training1.jsonl\ndefault*/validation: my_dev.jsonl\ndefault*/test: x.eval-2.jsonl\n"},
		{name: "no words", files: "testfile.csv retrain.csv", want: "default*/train: retrain.csv testfile.csv\n"},
		{name: "sharded", files: "data/train-00001-of-00002-ab12.parquet data/train-00000-of-00002-ab12.parquet data/train_sft-00000-of-00001.parquet",
			want: "default*/train: data/train-00000-of-00002-ab12.parquet data/train-00001-of-00002-ab12.parquet\ndefault*/train_sft: data/train_sft-00000-of-00001.parquet\n"},
		{name: "directories", files: "train/a.parquet train/b.parquet val/test.parquet", want: "default*/train: train/a.parquet train/b.parquet\ndefault*/validation: val/test.parquet\n"},
		{name: "notes beside data", files: "train-a.jsonl.gz train-b.jsonl.gz train-notes.txt dataset_infos.json __pycache__/train.jsonl .hidden/train.jsonl", want: "default*/train: train-a.jsonl.gz train-b.jsonl.gz\n"},
		{name: "converted", files: "en/train/0000.parquet en/train/0001.parquet en/test/0000.parquet de/partial-train/0000.parquet", want: "de/train: de/partial-train/0000.parquet\nen/test: en/test/0000.parquet\nen/train: en/train/0000.parquet en/train/0001.parquet\n"},
		{name: "converted, one config", files: "default/train/0000.parquet", want: "default*/train: default/train/0000.parquet\n"},
		{name: "card", card: wikitextCard, files: "README.md wikitext-103-v1/train-00000-of-00002.parquet wikitext-103-v1/train-00001-of-00002.parquet wikitext-103-v1/test-00000-of-00001.parquet wikitext-2-raw-v1/train-00000-of-00001.parquet wikitext-2-raw-v1/validation-00000-of-00001.parquet",
			want: "wikitext-103-v1/test: wikitext-103-v1/test-00000-of-00001.parquet\n" +
				"wikitext-103-v1/train: wikitext-103-v1/train-00000-of-00002.parquet wikitext-103-v1/train-00001-of-00002.parquet\n" +
				"wikitext-2-raw-v1/train: wikitext-2-raw-v1/train-00000-of-00001.parquet\n" +
				"wikitext-2-raw-v1/validation: wikitext-2-raw-v1/validation-00000-of-00001.parquet\n"},
		{name: "card with a list and a default", card: "---\r\nconfigs:\r\n- config_name: a\r\n  data_files: [x.csv, \"sub/**/*.csv\"]\r\n- config_name: b\r\n  default: true\r\n  data_files: y.csv\r\n---\r\n", files: "x.csv y.csv sub/p.csv sub/deep/q.csv",
			want: "a/train: x.csv sub/deep/q.csv sub/p.csv\nb*/train: y.csv\n"},
		{name: "card with a map and a directory", card: "---\nconfigs:\n- config_name: a\n  data_dir: d\n  data_files:\n    train: \"t[0-9].csv\"\n    rest: [\"[!t]?.csv\"]\n- config_name: e\n  data_dir: e\n---", files: "d/t1.csv d/tx.csv d/ab.csv e/test.csv e/train.csv t1.csv",
			want: "a/train: d/t1.csv\na/rest: d/ab.csv\ne/train: e/train.csv\ne/test: e/test.csv\n"},
		{name: "card without configs", card: "---\nlicense: mit\n---\n", files: "train.csv", want: "default*/train: train.csv\n"},
		{name: "card without head", card: "# Title\n---\n", files: "train.csv", want: "default*/train: train.csv\n"},

		{name: "nothing to read", files: "README.md piqa.py image.png", err: "set: no file that can be read is in it"},
		{name: "card that is not YAML", card: "---\nconfigs: [\n---\n", files: "a.csv", err: "set/README.md: its head: line"},
		{name: "card with a strange config", card: "---\nconfigs:\n- data_files: [{path: a.csv}]\n---\n", files: "a.csv", err: "want split and path"},
		{name: "files that lie elsewhere", card: "---\nconfigs:\n- data_files: https://x.org/a.csv\n---\n", files: "a.csv", err: "lies elsewhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Discover("set", strings.Fields(c.files), []byte(c.card))
			checkError(t, err, "set", c.err)
			if err != nil {
				return
			}
			if diff := cmp.Diff(c.want, lay(l)); diff != "" {
				t.Errorf("layout (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFind(t *testing.T) {
	several := "---\nconfigs:\n- config_name: a\n  data_files: [{split: train, path: a/1.csv}, {split: dev, path: a/2.csv}]\n- config_name: b/c\n  data_files: b.csv\n---\n"
	preset := strings.Replace(several, "config_name: a\n", "config_name: a\n  default: true\n", 1)
	for _, c := range []struct {
		name, card, part string
		want, err        string
	}{
		{name: "config alone", card: several, part: "a", want: "a/train a/1.csv"},
		{name: "config and split", card: several, part: "a/dev", want: "a/dev a/2.csv"},
		{name: "config with a slash", card: several, part: "b/c", want: "b/c/train b.csv"},
		{name: "config with a slash, and split", card: several, part: "b/c/train", want: "b/c/train b.csv"},
		{name: "default", card: preset, part: "", want: "a/train a/1.csv"},
		{name: "split of the default", card: preset, part: "dev", want: "a/dev a/2.csv"},
		{name: "directory as config", card: several, part: "dir/sub", want: "dir/sub/test dir/sub/test.csv"},
		{name: "split of a directory", card: several, part: "dir/sub/test", want: "dir/sub/test dir/sub/test.csv"},
		{name: "no default", card: several, part: "", err: "has several configs, and no default; name one of them: a, b/c"},
		{name: "no such split", card: several, part: "a/test", err: `config "a" has no split "test"; it has: a/train, a/dev`},
		{name: "no such thing", card: preset, part: "tset", err: `has no config or split "tset"; its configs: a, b/c; splits of the default: train, dev`},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Discover("set", []string{"a/1.csv", "a/2.csv", "b.csv", "dir/sub/test.csv"}, []byte(c.card))
			if err != nil {
				t.Fatal(err)
			}
			config, split, err := l.Find(c.part)
			checkError(t, err, "set", c.err)
			if err != nil {
				return
			}
			if got := config.Name + "/" + split.Name + " " + strings.Join(split.Files, " "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	l, err := Discover("set", []string{"dev.csv", "test.csv"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = l.Find("")
	checkError(t, err, "set", "has several splits, and no train; name one of them: validation, test")
}

func TestDiscoverDir(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"README.md": wikitextCard, "wikitext-2-raw-v1/train-00000-of-00001.parquet": "", ".git/train.csv": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	l, err := DiscoverDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := lay(l), "wikitext-2-raw-v1/train: wikitext-2-raw-v1/train-00000-of-00001.parquet\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLayoutsWithoutCard finds the parts of the benchmarks, whose directories
// have no card.
func TestLayoutsWithoutCard(t *testing.T) {
	root := t.TempDir()
	for _, name := range strings.Fields(`
		piqa/plain_text/train.jsonl piqa/plain_text/validation.jsonl
		ai2_arc/ARC-Easy/train.jsonl ai2_arc/ARC-Easy/test.jsonl ai2_arc/ARC-Challenge/train.jsonl ai2_arc/ARC-Challenge/test.jsonl
		openbookqa/main/train.jsonl openbookqa/main/test.jsonl
		winogrande/winogrande_xl/train.jsonl winogrande/winogrande_xl/validation.jsonl
		hails/mmlu_no_train/virology/dev.jsonl hails/mmlu_no_train/virology/validation.jsonl hails/mmlu_no_train/virology/test.jsonl
		cmmlu/data/dev/anatomy.csv cmmlu/data/test/anatomy.csv`) {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		dir, part string
		want      string
	}{
		{"piqa", "", "plain_text/train.jsonl"},
		{"piqa", "plain_text/validation", "plain_text/validation.jsonl"},
		{"ai2_arc", "ARC-Challenge/test", "ARC-Challenge/test.jsonl"},
		{"openbookqa", "main/test", "main/test.jsonl"},
		{"winogrande", "winogrande_xl", "winogrande_xl/train.jsonl"},
		{"hails/mmlu_no_train", "virology/dev", ""},
		{"hails/mmlu_no_train", "virology/validation", "virology/dev.jsonl virology/validation.jsonl"},
		{"cmmlu", "data/dev/anatomy", ""},
	} {
		l, err := DiscoverDir(filepath.Join(root, c.dir))
		if err != nil {
			t.Fatal(err)
		}
		_, split, err := l.Find(c.part)
		if c.want == "" {
			if err == nil {
				t.Errorf("%s %s: found %v", c.dir, c.part, split.Files)
			}
			continue
		}
		if got := strings.Join(split.Files, " "); err != nil || got != c.want {
			t.Errorf("%s %s: %s, %v; want %s", c.dir, c.part, got, err, c.want)
		}
	}
}

func FuzzDiscover(f *testing.F) {
	f.Add("a/train-1.csv\nb.csv", wikitextCard)
	f.Add("a/b/0000.parquet", "---\nconfigs: [{data_files: {a: '**/[!x]?*'}}]\n---")
	f.Fuzz(func(t *testing.T, names, card string) {
		l, err := Discover("set", strings.Split(names, "\n"), []byte(card))
		if err != nil && !strings.HasPrefix(err.Error(), "set") {
			t.Fatalf("error without the data set's name: %v", err)
		}
		if err == nil {
			_, _, _ = l.Find("a/b")
		}
	})
}

// Files of other kinds are not read in silence, and lend splits that are missing.
func TestMixedFiles(t *testing.T) {
	for _, c := range []struct{ files, part, want, over string }{
		{"a.txt ok.jsonl", "", "a.txt", "ok.jsonl"},
		{"train.jsonl test.txt validation.txt", "", "train.jsonl", ""},
		{"train.jsonl test.txt validation.txt", "test", "test.txt", ""},
		{"a.csv b.csv test_notes.txt", "", "a.csv b.csv", "test_notes.txt"},
		{"train.jsonl test.jsonl train_notes.txt", "", "train.jsonl", "train_notes.txt"},
		{"train.jsonl extra.jsonl", "", "train.jsonl", "extra.jsonl"},
		{"notes.md a.txt", "", "a.txt", ""},
	} {
		l, err := Discover("set", strings.Fields(c.files), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, split, err := l.Find(c.part)
		if got := strings.Join(split.Files, " "); err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.files, got, err, c.want)
		}
		if got := strings.Join(l.PassedOver(), " "); got != c.over {
			t.Errorf("%s: passed over %q, want %q", c.files, got, c.over)
		}
	}
}
