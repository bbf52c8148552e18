package export

import (
	"errors"
	"fmt"
	"strings"

	"github.com/coppice-ml/coppice/chat"
)

// Modelfile is what ollama makes a model from.
type Modelfile struct {
	From     string   // the GGUF file
	Template string   // in Go's template language; "" leaves it to ollama
	Stop     []string // texts that end an answer
	Context  int      // longest sequence the model was made for
}

// String is the file.
func (m Modelfile) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "FROM %s\n", m.From)
	if m.Template != "" {
		fmt.Fprintf(&b, "TEMPLATE \"\"\"%s\"\"\"\n", m.Template)
	}
	fmt.Fprintf(&b, "PARAMETER num_ctx %d\n", min(m.Context, maxContext))
	for _, s := range m.Stop {
		fmt.Fprintf(&b, "PARAMETER stop %q\n", s)
	}
	return b.String()
}

// maxContext bounds the memory that ollama sets aside at once: whoever has more
// asks for more.
const maxContext = 8192

// pieces are what a chat template writes around messages.
type pieces struct {
	begin                             string
	lone                              bool // begin is left out where there is a system's message
	user, system, afterSystem, answer string
	afterAnswer                       string
}

// Messages that stand for themselves: no template has them.
const (
	markSystem = "\x02system\x03"
	markUser   = "\x02user\x03"
	markAnswer = "\x02answer\x03"
	markAgain  = "\x02again\x03"
)

// errNotSimple: what a template writes depends on more than a message's role.
var errNotSimple = errors.New("it does more than write something before and after each message")

// OllamaTemplate is a model's chat template in Go's template language, as ollama
// wants it. Templates are programs; this one is what the model's writes around
// messages of a system, a user and the model, found by rendering some, and an error
// where that does not explain what it writes. BOS, which ollama adds, is left out.
func OllamaTemplate(t *chat.Template) (string, error) {
	p, err := piecesOf(t)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if p.lone {
		fmt.Fprintf(&b, `{{- if not .System }}%s{{- end }}`, quoted(p.begin))
	} else {
		b.WriteString(quoted(p.begin))
	}
	b.WriteString(`{{- range .Messages }}`)
	if p.system+p.afterSystem != "" {
		fmt.Fprintf(&b, `{{- if eq .Role "system" }}%s{{ .Content }}%s{{- end }}`, quoted(p.system), quoted(p.afterSystem))
	}
	fmt.Fprintf(&b, `{{- if eq .Role "user" }}%s{{ .Content }}{{- end }}`, quoted(p.user))
	fmt.Fprintf(&b, `{{- if eq .Role "assistant" }}%s{{ .Content }}%s{{- end }}`, quoted(p.answer), quoted(p.afterAnswer))
	fmt.Fprintf(&b, `{{- end }}%s`, quoted(p.answer))
	return b.String(), nil
}

// quoted writes a text so that the template gives just that: an action, which keeps
// white space and braces.
func quoted(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("{{ %q }}", s)
}

// piecesOf finds the pieces.
func piecesOf(t *chat.Template) (p pieces, err error) {
	user, answer := chat.Message{Role: "user", Content: markUser}, chat.Message{Role: "assistant", Content: markAnswer}
	one, err := t.Render([]chat.Message{user}, chat.Options{Prompt: true})
	if err != nil {
		return p, err
	}
	head, tail, ok := strings.Cut(one, markUser)
	if !ok {
		return p, errNotSimple
	}
	again := chat.Message{Role: "user", Content: markAgain}
	two, err := t.Render([]chat.Message{user, answer, again}, chat.Options{Prompt: true})
	if err != nil {
		return p, err
	}
	rest, ok := strings.CutPrefix(two, head+markUser)
	between, end, ok2 := strings.Cut(rest, markAnswer)
	middle, last, ok3 := strings.Cut(end, markAgain)
	if !ok || !ok2 || !ok3 || last != tail {
		return p, errNotSimple
	}
	// tail is what follows a user's message and opens an answer; between is the same
	// before an answer that is there, where some templates leave something out.
	if between != tail {
		return p, errNotSimple
	}
	p.user = longestSuffix(head, middle)
	p.begin = strings.TrimPrefix(strings.TrimSuffix(head, p.user), t.BOS())
	p.afterAnswer = strings.TrimSuffix(middle, p.user)
	p.answer = tail
	if err := p.findSystem(t, head); err != nil {
		return p, err
	}
	return p, nil
}

// longestSuffix is the longest text that both end with.
func longestSuffix(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return a[len(a)-n:]
}

// findSystem renders a system's message. A template that refuses one has none.
func (p *pieces) findSystem(t *chat.Template, head string) error {
	text, err := t.Render([]chat.Message{{Role: "system", Content: markSystem}, {Role: "user", Content: markUser}}, chat.Options{Prompt: true})
	if errors.Is(err, chat.ErrRefused) {
		return nil
	}
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(text, markSystem)
	after, tail, ok2 := strings.Cut(rest, markUser)
	if !ok || !ok2 || tail != p.answer || !strings.HasSuffix(after, p.user) {
		return errNotSimple
	}
	before = strings.TrimPrefix(before, t.BOS())
	p.system, ok = strings.CutPrefix(before, p.begin)
	if !ok {
		// Without a system's message the template writes one of its own.
		p.system, p.lone = before, true
	}
	p.afterSystem = strings.TrimSuffix(after, p.user)
	return nil
}
