package eval

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/data"
)

// original reads a split from the files a dataset's authors published, where
// these differ from the hub's. It returns nil where they are not there.
func (t *Task) original(root, split string, names []string) ([]Doc, error) {
	for _, set := range t.originalFiles(split) {
		if !slices.ContainsFunc(set, func(f string) bool { return !slices.Contains(names, f) }) {
			docs, err := t.readOriginal(under(root, set))
			if err != nil {
				err = fmt.Errorf("task %s: %w", t.Name, err)
			}
			return docs, err
		}
	}
	return nil, nil
}

// originalFiles are sets of files of which one must be there whole.
func (t *Task) originalFiles(split string) [][]string {
	short := map[string]string{"validation": "valid"}[split]
	if short == "" {
		short = split
	}
	config := t.DatasetName
	switch t.Metadata.Original {
	case "piqa":
		return [][]string{{short + ".jsonl", short + "-labels.lst"}}
	case "hellaswag":
		return [][]string{{"hellaswag_" + strings.TrimSuffix(short, "id") + ".jsonl"}, {strings.TrimSuffix(short, "id") + "_subset.jsonl"}}
	case "arc":
		dev := map[string]string{"validation": "Dev", "test": "Test", "train": "Train"}[split]
		return [][]string{{path.Join(config, config+"-"+dev+".jsonl")}}
	case "openbookqa":
		dev := map[string]string{"validation": "dev"}[split]
		if dev == "" {
			dev = split
		}
		return [][]string{{path.Join("Data", "Main", dev+".jsonl")}, {path.Join("Main", dev+".jsonl")}}
	case "wikitext":
		return [][]string{{"wiki." + short + ".raw"}}
	case "lambada":
		return [][]string{{path.Join("data", "lambada_"+split+".jsonl")}, {"lambada_" + split + ".jsonl"}}
	case "mmlu":
		return [][]string{{path.Join(split, config+"_"+split+".csv")}}
	}
	return nil
}

func (t *Task) readOriginal(paths []string) ([]Doc, error) {
	switch t.Metadata.Original {
	case "piqa":
		return piqaOriginal(paths[0], paths[1])
	case "arc", "openbookqa":
		return stemOriginal(t, paths[0])
	case "wikitext":
		return wikitextPages(paths[0])
	case "mmlu":
		return mmluOriginal(paths[0])
	}
	return readRows(paths[0], data.RowOptions{})
}

// piqaOriginal puts the labels, which have a file of their own, beside the rows.
func piqaOriginal(rows, labels string) ([]Doc, error) {
	docs, err := readRows(rows, data.RowOptions{})
	if err != nil {
		return nil, err
	}
	lines, err := readRows(labels, data.RowOptions{})
	if err != nil {
		return nil, err
	}
	if len(docs) != len(lines) {
		return nil, fmt.Errorf("%s has %d rows and %s %d: %w", rows, len(docs), filepath.Base(labels), len(lines), errPairs)
	}
	for i, doc := range docs {
		n, err := integer(lines[i]["text"])
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", labels, i+1, err)
		}
		doc["label"] = int64(n)
	}
	return docs, nil
}

// stemOriginal turns {"question": {"stem", "choices": [{"text", "label"}]}}
// into the hub's columns.
func stemOriginal(t *Task, p string) ([]Doc, error) {
	docs, err := readRows(p, data.RowOptions{})
	if err != nil {
		return nil, err
	}
	column := map[string]string{"arc": "question", "openbookqa": "question_stem"}[t.Metadata.Original]
	for i, doc := range docs {
		question, ok := doc["question"].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s: row %d: question is not an object", p, i+1)
		}
		var texts, labels []any
		list, _ := question["choices"].([]any)
		for _, c := range list {
			choice, _ := c.(map[string]any)
			texts, labels = append(texts, choice["text"]), append(labels, choice["label"])
		}
		doc[column] = question["stem"]
		doc["choices"] = map[string]any{"text": texts, "label": labels}
	}
	return docs, nil
}

// mmluOriginal reads a table without names: question, four choices, a letter.
func mmluOriginal(p string) ([]Doc, error) {
	names := []string{"question", "A", "B", "C", "D", "answer"}
	docs, err := readRows(p, data.RowOptions{Names: names})
	if err != nil {
		return nil, err
	}
	for i, doc := range docs {
		letter, _ := doc["answer"].(string)
		at := slices.Index(names[1:5], letter)
		if at < 0 {
			return nil, fmt.Errorf("%s: row %d: the answer %q is none of A, B, C and D", p, i+1, letter)
		}
		doc["answer"] = int64(at)
		doc["choices"] = []any{doc["A"], doc["B"], doc["C"], doc["D"]}
	}
	return docs, nil
}

// wikitextPages cuts WikiText's raw file at the articles' titles, which stand
// between single equals signs.
func wikitextPages(p string) ([]Doc, error) {
	raw, err := os.ReadFile(p)
	if err != nil {
		return nil, err
	}
	var docs []Doc
	var lines []string
	page := func() string { return strings.Join(lines, "\n") }
	for _, line := range strings.Split(string(raw), "\n") {
		title := strip(strings.ReplaceAll(strings.ReplaceAll(line, "= = =", "==="), "= =", "=="))
		if strings.HasPrefix(title, "= ") && strings.HasSuffix(title, " =") {
			if strip(page()) != "" {
				docs = append(docs, Doc{"page": page()})
			}
			lines = nil
		}
		lines = append(lines, line)
	}
	return append(docs, Doc{"page": page()}), nil
}
