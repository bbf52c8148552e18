package prune

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// carriedKeys are what a pruned model's card takes over from the original's:
// the licence holds for what is left, and so do the languages.
func carriedKeys() []string {
	return []string{"license", "license_name", "license_link", "language", "pipeline_tag", "library_name"}
}

// card is the README.md of a pruned checkpoint: YAML front matter for the hub,
// then what was cut from what. note is what other programs make of it, and old
// the original's card; either may be empty.
func card(p Plan, note, old string, opt Options) string {
	var b strings.Builder
	b.WriteString("---\n")
	if isHubID(opt.SourceName) {
		fmt.Fprintf(&b, "base_model: %s\n", quote(opt.SourceName))
	}
	matter := frontMatter(old)
	for _, key := range carriedKeys() {
		b.WriteString(matter[key])
	}
	b.WriteString("tags:\n- pruned\n- layer-pruning\n- coppice\n---\n\n")
	cardText(&b, p, opt)
	if note != "" {
		fmt.Fprintf(&b, "\nBefore you run this with other programs: %s.\n", note)
	}
	return b.String()
}

func cardText(b *strings.Builder, p Plan, opt Options) {
	name := opt.SourceName
	fmt.Fprintf(b, "# %s, %d of %d layers\n\n", name, len(p.Keep), p.Layers)
	fmt.Fprintf(b, "This is `%s` with %s whole %s removed by [Coppice](https://github.com/coppice-ml/coppice)%s. ",
		name, number(len(p.Drop)), plural(len(p.Drop), "layer"), version(opt.Version))
	b.WriteString("The weights of the layers that are left are the original's, byte for byte. " +
		"Pruning costs quality until the model is fine-tuned: evaluate it before use.\n\n")
	b.WriteString("| | before | after |\n|---|---|---|\n")
	fmt.Fprintf(b, "| layers | %d | %d |\n", p.Layers, len(p.Keep))
	fmt.Fprintf(b, "| parameters | %d | %d |\n", p.ParametersBefore, p.Parameters)
	fmt.Fprintf(b, "| bytes of weights | %d | %d |\n\n", p.BytesBefore, p.Bytes)
	b.WriteString("Layers are counted from 0, in the original's numbering.\n\n")
	fmt.Fprintf(b, "- dropped: %s\n", orNone(FormatLayers(p.Drop)))
	fmt.Fprintf(b, "- kept: %s\n", FormatLayers(p.Keep))
	if p.Source != "" {
		fmt.Fprintf(b, "- chosen by: %s\n", p.Source)
	}
	fmt.Fprintf(b, "\nThe same again, or from `%s` with `--plan`:\n\n", PlanFile)
	fmt.Fprintf(b, "```\ncoppice prune %s --keep %s --out DIR\n```\n", name, FormatLayers(p.Keep))
}

// frontMatter splits the YAML between a card's "---" lines into its top-level
// entries, each with the indented lines and list items that belong to it, as
// they are written. It is empty when there is none, or it is not closed.
func frontMatter(card string) map[string]string {
	entries := map[string]string{}
	lines := strings.SplitAfter(strings.ReplaceAll(strings.TrimPrefix(card, "\ufeff"), "\r\n", "\n"), "\n")
	end := -1
	if strings.TrimRight(lines[0], " \n") == "---" {
		end = slices.IndexFunc(lines[1:], func(l string) bool { return strings.TrimRight(l, " \n") == "---" })
	}
	key := ""
	for i := range max(end, 0) {
		line := lines[1+i]
		if strings.ContainsAny(line[:1], " \t-#\n") {
			if key != "" {
				entries[key] += line
			}
			continue
		}
		key, _, _ = strings.Cut(line, ":")
		entries[key] = line
	}
	return entries
}

// isHubID reports whether a name is org/name as the Hugging Face hub allows it.
func isHubID(name string) bool {
	org, repo, ok := strings.Cut(name, "/")
	return ok && isHubName(org) && isHubName(repo)
}

func isHubName(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
	return s != "" && s[0] != '.' && strings.Trim(s, allowed) == ""
}

// quote makes a YAML string of any text: JSON's are a subset.
func quote(s string) string {
	raw, _ := json.Marshal(s) // strings always encode
	return string(raw)
}

func version(v string) string {
	if v == "" {
		return ""
	}
	return " " + v
}

func number(n int) string {
	if n == 0 {
		return "no"
	}
	return fmt.Sprint(n)
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
