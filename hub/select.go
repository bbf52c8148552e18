package hub

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// Need says what of a model is wanted.
type Need int

// What of a model is wanted.
const (
	NeedAll       Need = iota // to run and to copy it: one form of the weights and all that belongs to it
	NeedConfig                // config.json
	NeedTokenizer             // config.json and the tokenizer
)

// ModelFiles chooses the files of a model that are needed. Of weights in
// several forms it takes one, in the order of preference that transformers has:
// safetensors before pytorch_model.bin, one file before shards.
func ModelFiles(files []File, need Need) []string {
	var names []string
	for _, f := range files {
		if wanted(f.Name, need) {
			names = append(names, f.Name)
		}
	}
	if need == NeedAll {
		names = append(names, weights(files)...)
	}
	slices.Sort(names)
	return names
}

func wanted(name string, need Need) bool {
	lower := strings.ToLower(name)
	match := func(patterns ...string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, lower); return ok })
	}
	switch {
	case lower == "config.json":
		return true
	case need == NeedConfig:
		return false
	case match("tokenizer.json", "tokenizer.model*", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
		"vocab.json", "vocab.txt", "merges.txt", "tekken.json", "*.tiktoken", "*.model", "chat_template.*", "additional_chat_templates/*.jinja"):
		return true
	case need == NeedTokenizer:
		return false
	}
	return match("generation_config.json", "preprocessor_config.json", "processor_config.json",
		"license*", "licence*", "notice*", "copying*", "use_policy*", "readme.md", "*.py", "coppice_plan.json")
}

// weights are the files of the first form that is there. An index lists the
// shards, whose names follow from it.
func weights(files []File) []string {
	forms := []struct{ single, index, shards string }{
		{"model.safetensors", "model.safetensors.index.json", `^model-\d+-of-\d+\.safetensors$`},
		{"pytorch_model.bin", "pytorch_model.bin.index.json", `^pytorch_model-\d+-of-\d+\.bin$`},
	}
	has := func(name string) bool {
		return slices.ContainsFunc(files, func(f File) bool { return f.Name == name })
	}
	for _, form := range forms {
		switch {
		case has(form.single):
			return []string{form.single}
		case has(form.index):
			names := []string{form.index}
			shard := regexp.MustCompile(form.shards)
			for _, f := range files {
				if shard.MatchString(f.Name) {
					names = append(names, f.Name)
				}
			}
			return names
		}
	}
	return nil
}

// Match keeps the names that match one of the patterns to include, or all when
// there are none, and none of those to exclude. A pattern is a path with * and
// ?, which also match slashes, as huggingface_hub has them; one that ends in a
// slash matches all below it.
func Match(names, include, exclude []string) []string {
	var out []string
	in, not := patterns(include), patterns(exclude)
	for _, name := range names {
		if (len(in) == 0 || matchesAny(in, name)) && !matchesAny(not, name) {
			out = append(out, name)
		}
	}
	return out
}

func patterns(list []string) []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, p := range list {
		if strings.HasSuffix(p, "/") {
			p += "*"
		}
		p = regexp.QuoteMeta(p)
		p = strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(p)
		out = append(out, regexp.MustCompile(`(?s)^`+p+`$`))
	}
	return out
}

func matchesAny(list []*regexp.Regexp, name string) bool {
	return slices.ContainsFunc(list, func(p *regexp.Regexp) bool { return p.MatchString(name) })
}
