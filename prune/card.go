package prune

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/hubid"
	"github.com/coppice-ml/coppice/internal/pyjson"
	"github.com/coppice-ml/coppice/internal/shell"
)

// carriedKeys are what a pruned model's card takes over from the original's: the
// licence holds for what is left, and so do the languages.
func carriedKeys() []string {
	return []string{"license", "license_name", "license_link", "language"}
}

// card is the README.md of a pruned checkpoint: YAML front matter for the hub,
// then what was cut from what and how to use it. note is what other programs make
// of it, or "". A missing or unreadable card of the original is no reason not to
// prune.
func card(p Plan, note string, c *checkpoint.Checkpoint, opt Options) string {
	matter := frontMatter(string(c.Beside("README.md")))
	var b strings.Builder
	b.WriteString("---\n")
	if hubid.Is(opt.SourceName) {
		fmt.Fprintf(&b, "base_model: %s\n", quote(opt.SourceName))
	} else {
		b.WriteString(matter["base_model"]) // of the chain's first model
	}
	for _, key := range carriedKeys() {
		b.WriteString(matter[key])
	}
	b.WriteString(cmp.Or(matter["library_name"], "library_name: transformers\n"))
	b.WriteString(cmp.Or(matter["pipeline_tag"], "pipeline_tag: text-generation\n"))
	b.WriteString("tags:\n- pruned\n- layer-pruning\n- coppice\n---\n\n")
	cardText(&b, p, opt)
	cardLayers(&b, p, opt)
	cardUse(&b, matter, c)
	if note != "" {
		fmt.Fprintf(&b, "\nBefore you run this with other programs: %s.\n", note)
	}
	return b.String()
}

// What a card says of the weights: before and after they are trained on.
const (
	untouched = "The weights of the layers that are left are the original's, byte for byte. " +
		"Pruning costs quality until the model is fine-tuned: evaluate it before use."
	trained = "The layers that are left were trained on since, as said below: evaluate it before use."
)

func cardText(b *strings.Builder, p Plan, opt Options) {
	name := plain(opt.SourceName)
	fmt.Fprintf(b, "# %s, %d of %d layers\n\n", name, len(p.Keep), p.Layers)
	fmt.Fprintf(b, "This is `%s` with %s whole %s removed by [Coppice](https://github.com/coppice-ml/coppice)%s. ",
		name, number(len(p.Drop)), plural(len(p.Drop), "layer"), version(opt.Version))
	if o := p.Origin; o != nil && o.Model != "" {
		fmt.Fprintf(b, "`%s` was itself pruned: all began with `%s`, of whose %d layers these are %s. ", name, plain(o.Model), o.Layers, FormatLayers(o.Keep))
	}
	says := untouched
	if opt.Healed {
		says = trained
	}
	b.WriteString(says + "\n\n")
	b.WriteString("| | before | after |\n|---|---|---|\n")
	fmt.Fprintf(b, "| layers | %d | %d |\n", p.Layers, len(p.Keep))
	fmt.Fprintf(b, "| parameters | %d | %d |\n", p.ParametersBefore, p.Parameters)
	fmt.Fprintf(b, "| bytes of weights | %d | %d |\n\n", p.BytesBefore, p.Bytes)
}

func cardLayers(b *strings.Builder, p Plan, opt Options) {
	fmt.Fprintf(b, "Layers are counted from 0, in the numbering of `%s`.\n\n", plain(opt.SourceName))
	fmt.Fprintf(b, "- dropped: %s\n", orNone(FormatLayers(p.Drop)))
	fmt.Fprintf(b, "- kept: %s\n", FormatLayers(p.Keep))
	if p.Source != "" {
		fmt.Fprintf(b, "- chosen by: %s\n", p.Source)
	}
	fmt.Fprintf(b, "\nThe same again, or from `%s` with `--plan`:\n\n", PlanFile)
	fmt.Fprintf(b, "```\ncoppice prune %s --keep %s --out DIR\n```\n", shell.Quote(opt.SourceName), FormatLayers(p.Keep))
}

// cardUse says how to load the model, and under which licence.
func cardUse(b *strings.Builder, matter map[string]string, c *checkpoint.Checkpoint) {
	remote := ""
	var config struct {
		AutoMap map[string]any `json:"auto_map"`
	}
	if pyjson.Unmarshal(c.Config(), &config) == nil && len(config.AutoMap) > 0 {
		remote = ", trust_remote_code=True"
	}
	fmt.Fprintf(b, "\nTo use it, with this directory or its name on the hub in place of `PATH`:\n\n"+
		"```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"+
		"model = AutoModelForCausalLM.from_pretrained(\"PATH\", torch_dtype=\"auto\"%s)\ntokenizer = AutoTokenizer.from_pretrained(\"PATH\"%s)\n```\n", remote, remote)
	if matter["license"] == "" {
		b.WriteString("\nThe original's licence holds for this model too; its card names none.\n")
	}
}

// plain keeps a name inside a line and its quotes.
func plain(name string) string { return strings.NewReplacer("`", "'", "\n", " ").Replace(name) }

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
