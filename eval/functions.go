package eval

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Functions that the harness's own task files name after !function, under the
// names they have there.
const (
	hellaswagDocs      = "hellaswag.process_docs"
	winograndeText     = "preprocess_winogrande.doc_to_text"
	winograndeTarget   = "preprocess_winogrande.doc_to_target"
	winograndeChoice   = "preprocess_winogrande.doc_to_choice"
	raceText           = "preprocess_race.doc_to_text"
	raceTarget         = "preprocess_race.doc_to_target"
	raceChoice         = "preprocess_race.doc_to_choice"
	wikitextDetokenize = "preprocess_wikitext.wikitext_detokenizer"
	wikitextResults    = "preprocess_wikitext.process_results"
)

func functionNames() []string {
	return []string{hellaswagDocs, winograndeText, winograndeTarget, winograndeChoice, raceText, raceTarget, raceChoice, wikitextDetokenize, wikitextResults}
}

// call applies a function that makes a value of a document.
func call(name string, doc Doc) (any, error) {
	switch name {
	case winograndeText:
		return winograndeGold(doc)
	case winograndeTarget:
		_, after, err := winograndeSplit(doc)
		return strip(after), err
	case winograndeChoice:
		return winograndeContexts(doc)
	case raceText, raceTarget, raceChoice:
		return race(name, doc)
	case wikitextDetokenize:
		page, err := textOf(doc, "page")
		if err != nil {
			return nil, err
		}
		return detokenize(page)
	}
	return nil, fmt.Errorf("!function %s does not make a value of a document", name)
}

// process applies process_docs to a document.
func process(name string, doc Doc) (Doc, error) {
	if name != hellaswagDocs {
		return nil, fmt.Errorf("!function %s does not make documents of documents", name)
	}
	return hellaswag(doc)
}

func textOf(doc Doc, column string) (string, error) {
	v, ok := doc[column]
	if !ok {
		return "", missing(doc, column)
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%q is %v, not a text", column, v)
	}
	return s, nil
}

func missing(doc Doc, column string) error {
	names := make([]string, 0, len(doc))
	for name := range doc {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Errorf("has no column %q (it has: %s)", column, strings.Join(names, ", "))
}

// integer reads a number that may be written as a text.
func integer(v any) (int, error) {
	switch v := v.(type) {
	case int64:
		return int(v), nil
	case int:
		return v, nil
	case float64:
		if v == float64(int(v)) {
			return int(v), nil
		}
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	case string:
		if n, err := strconv.Atoi(strip(v)); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%v is not an integer", v)
}

// hellaswag adds query, choices and gold. A document that has them and not
// what they are made of is left as it is.
func hellaswag(doc Doc) (Doc, error) {
	if _, raw := doc["ctx_a"]; !raw && doc["query"] != nil && doc["choices"] != nil && doc["gold"] != nil {
		return doc, nil
	}
	var part [3]string
	for i, column := range []string{"activity_label", "ctx_a", "ctx_b"} {
		var err error
		if part[i], err = textOf(doc, column); err != nil {
			return nil, err
		}
	}
	endings, ok := doc["endings"].([]any)
	if !ok {
		return nil, fmt.Errorf("endings: want a list, not %v", doc["endings"])
	}
	gold, err := integer(doc["label"])
	if err != nil {
		return nil, fmt.Errorf("label: %w", err)
	}
	choices := make([]any, len(endings))
	for i, e := range endings {
		if choices[i], err = hellaswagText(fmt.Sprint(e)); err != nil {
			return nil, err
		}
	}
	query, err := hellaswagText(part[0] + ": " + part[1] + " " + capitalize(part[2]))
	if err != nil {
		return nil, err
	}
	out := Doc{"query": query, "choices": choices, "gold": int64(gold)}
	for k, v := range doc {
		if _, made := out[k]; !made {
			out[k] = v
		}
	}
	return out, nil
}

// hellaswagText takes out what WikiHow left in brackets.
func hellaswagText(s string) (string, error) {
	s = strings.ReplaceAll(strip(s), " [title]", ". ")
	re, err := compileRegex(`\[.*?\]`)
	if err != nil {
		return "", err
	}
	return strings.ReplaceAll(re.replace(s, ""), "  ", " "), nil
}

// Winogrande asks for one continuation after two contexts: the sentence up to
// the gap with each option in it. The text is the index of the right one.
func winograndeGold(doc Doc) (any, error) {
	answer, err := integer(doc["answer"])
	if err != nil || answer < 1 || answer > 2 {
		return nil, fmt.Errorf("answer %v: want 1 or 2", doc["answer"])
	}
	return int64(answer - 1), nil
}

func winograndeSplit(doc Doc) (before, after string, err error) {
	sentence, err := textOf(doc, "sentence")
	if err != nil {
		return "", "", err
	}
	before, after, ok := strings.Cut(sentence, "_")
	if !ok {
		return "", "", fmt.Errorf("the sentence has no gap: %q", sentence)
	}
	return before, after, nil
}

func winograndeContexts(doc Doc) (any, error) {
	before, _, err := winograndeSplit(doc)
	if err != nil {
		return nil, err
	}
	var out []any
	for _, column := range []string{"option1", "option2"} {
		option, err := textOf(doc, column)
		if err != nil {
			return nil, err
		}
		out = append(out, before+option)
	}
	return out, nil
}

// detokenize undoes WikiText's tokenisation.
func detokenize(s string) (string, error) {
	s = strings.ReplaceAll(s, "s '", "s'")
	if err := sub(&s, `/' [0-9]/`, `/'[0-9]/`); err != nil {
		return "", err
	}
	for _, r := range [][2]string{{" @-@ ", "-"}, {" @,@ ", ","}, {" @.@ ", "."}, {" : ", ": "}, {" ; ", "; "}, {" . ", ". "}, {" ! ", "! "}, {" ? ", "? "}, {" , ", ", "}} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	for _, r := range [][2]string{
		{`\(\s*([^\)]*?)\s*\)`, `(\1)`}, {`\[\s*([^\]]*?)\s*\]`, `[\1]`}, {`{\s*([^}]*?)\s*}`, `{\1}`},
		{`"\s*([^"]*?)\s*"`, `"\1"`}, {`'\s*([^']*?)\s*'`, `'\1'`},
	} {
		if err := sub(&s, r[0], r[1]); err != nil {
			return "", err
		}
	}
	for _, r := range [][2]string{
		{"= = = =", "===="}, {"= = =", "==="}, {"= =", "=="}, {" \u00b0 ", "\u00b0"},
		{" \n", "\n"}, {"\n ", "\n"}, {" N ", " 1 "}, {" 's", "'s"},
	} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	return s, nil
}

func sub(s *string, pattern, replacement string) error {
	re, err := compileRegex(pattern)
	if err != nil {
		return err
	}
	*s = re.replace(*s, replacement)
	return nil
}
