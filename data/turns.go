package data

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Turn is a message of a conversation.
type Turn struct {
	Role    string
	Content string
	// More are the message's other members, such as tool_calls, a JSON object in
	// the file's order; nil: there are none. Content that is null is among them.
	More json.RawMessage
}

// The roles that conversations are made of.
const (
	roleSystem    = "system"
	roleUser      = "user"
	roleAssistant = "assistant"
	roleTool      = "tool"
)

// roles are the names that files have for them.
func roles() map[string]string {
	return map[string]string{
		"system": roleSystem, "developer": roleSystem, "user": roleUser, "human": roleUser,
		"assistant": roleAssistant, "gpt": roleAssistant, "chatgpt": roleAssistant,
		"tool": roleTool, "function": roleTool, "ipython": roleTool, "observation": roleTool,
	}
}

// member is a name and a value of a message.
type member struct {
	name  string
	value any             // as Row has them
	raw   json.RawMessage // as written, for templates
}

// turns reads a column that holds messages, to go on from those before.
func (s Schema) turns(r Row, m Renames, column string, before []Turn) ([]Turn, error) {
	value, err := r.Value(column)
	if err != nil {
		return nil, err
	}
	items, ok := elements(value)
	if !ok {
		return nil, r.Fail(fmt.Sprintf("%s is not a list of messages but %s", column, kindOf(value)), s.example())
	}
	if len(items) == 0 {
		return nil, r.Fail(column+" has no messages", "remove the row")
	}
	out := slices.Clone(before)
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", column, i)
		turn, err := s.turn(r, m, at, item)
		if err != nil {
			return nil, err
		}
		if err := follows(r, at+"."+m.column(s.keys()[0]), out, turn.Role); err != nil {
			return nil, err
		}
		out = append(out, turn)
	}
	return out, nil
}

// example is what a message looks like.
func (s Schema) example() string {
	k := s.keys()
	user := "user"
	if s == SchemaShareGPT {
		user = "human"
	}
	return fmt.Sprintf(`want [{"%s": "%s", "%s": "…"}, …]`, k[0], user, k[1])
}

// turn reads one message.
func (s Schema) turn(r Row, m Renames, at string, item any) (t Turn, err error) {
	members, ok := membersOf(item)
	if !ok {
		return t, r.Fail(fmt.Sprintf("%s is not an object but %s", at, kindOf(item)), s.example())
	}
	role, content := m.column(s.keys()[0]), m.column(s.keys()[1])
	said, has := "", false
	var more []member
	for _, x := range members {
		switch x.name {
		case role:
			if said, has = x.value.(string); !has {
				return t, r.Fail(fmt.Sprintf("%s.%s holds %s, not a role", at, role, kindOf(x.value)), s.example())
			}
		case content:
			text, isText := x.value.(string)
			if !isText && x.value != nil {
				return t, r.Fail(fmt.Sprintf("%s.%s holds %s, not a text", at, content, kindOf(x.value)), "messages of parts are not read: join the texts of the parts")
			}
			if t.Content = text; !isText {
				more = append(more, member{name: "content", raw: x.raw})
			}
		default:
			more = append(more, x)
		}
	}
	if !has {
		return t, r.Fail(fmt.Sprintf("%s has no %s (it has: %s)", at, role, namesOf(members)), s.example())
	}
	if t.Role, has = said, roles()[said] != ""; !has {
		return t, r.Fail(fmt.Sprintf("%s.%s is %q, no known role", at, role, said), "known are "+strings.Join(sortedRoles(), ", "))
	}
	if slices.Contains([]string{"human", "gpt", "chatgpt"}, said) { // which no template knows
		t.Role = roles()[said]
	}
	if !slices.ContainsFunc(members, func(x member) bool { return x.name == content }) && !slices.ContainsFunc(more, func(x member) bool { return x.name == "tool_calls" }) {
		return t, r.Fail(fmt.Sprintf("%s has no %s (it has: %s)", at, content, namesOf(members)), s.example())
	}
	calls := func(x member) bool { return x.name == "tool_calls" || x.name == "function_call" }
	if slices.ContainsFunc(more, func(x member) bool { return x.name == "content" }) && (t.Role != roleAssistant || !slices.ContainsFunc(more, calls)) {
		return t, r.Fail(fmt.Sprintf("%s.%s holds null, not a text", at, content), "only a call of tools has no text: remove the row, or write \"\"")
	}
	t.More = asObject(more)
	return t, nil
}

func namesOf(members []member) string {
	var out []string
	for _, x := range members {
		out = append(out, x.name)
	}
	return strings.Join(out, ", ")
}

func sortedRoles() []string {
	var out []string
	for name := range roles() {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// follows says whether a role may come after the turns so far: a system message
// first, then user and assistant by turns; what tools say comes between a call of
// the assistant's and its answer.
func follows(r Row, at string, before []Turn, role string) error {
	last := "nothing"
	if len(before) > 0 {
		last = roles()[before[len(before)-1].Role]
	}
	allowed := map[string][]string{
		roleSystem: {"nothing"}, roleUser: {"nothing", roleSystem, roleAssistant},
		roleAssistant: {roleUser, roleTool}, roleTool: {roleAssistant, roleTool},
	}
	if slices.Contains(allowed[roles()[role]], last) {
		return nil
	}
	where := "after " + last
	if len(before) == 0 {
		where = "first"
	}
	return r.Fail(fmt.Sprintf("%s: %s comes %s", at, role, where), "the order is system (if any), then user and assistant by turns, tools before the assistant's answer")
}

// tools reads what the model may call: a list, or a text that holds one.
func tools(r Row, m Renames) (json.RawMessage, error) {
	column := m.in(r, "tools")
	i := slices.Index(r.Columns, column)
	if i < 0 || r.Values[i] == nil || r.Values[i] == "" {
		return nil, nil
	}
	items, ok := elements(r.Values[i])
	if !ok {
		return nil, r.Fail(fmt.Sprintf("%s is not a list but %s", column, kindOf(r.Values[i])), "")
	}
	if len(items) == 0 {
		return nil, nil
	}
	return rawOf(r.Values[i])
}

// rawOf writes a value as JSON; what was written as JSON stays as it was.
func rawOf(v any) (json.RawMessage, error) {
	switch v := v.(type) {
	case json.RawMessage:
		return v, nil
	case string:
		return json.RawMessage(v), nil
	}
	return json.Marshal(v)
}

// isList tells a text that holds a JSON list, as in CSV files.
func isList(v any) bool { _, ok := elements(v); return ok }

// elements are those of a list, which may be written as JSON in a text.
func elements(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case string:
		return elements(json.RawMessage(v))
	case json.RawMessage:
		if len(bytes.TrimSpace(v)) == 0 || bytes.TrimSpace(v)[0] != '[' {
			return nil, false
		}
		d := jsontext.NewDecoder(bytes.NewReader(v))
		if _, err := d.ReadToken(); err != nil {
			return nil, false
		}
		out := []any{}
		for d.PeekKind() != ']' {
			raw, err := d.ReadValue()
			if err != nil {
				return nil, false
			}
			out = append(out, json.RawMessage(bytes.Clone(raw)))
		}
		return out, true
	}
	return nil, false
}

// membersOf are those of an object, in the file's order where it has one.
func membersOf(v any) ([]member, bool) {
	var out []member
	switch v := v.(type) {
	case map[string]any: // of a Parquet file, where every row has every member
		for name, value := range v {
			raw, err := json.Marshal(value)
			if err != nil {
				return nil, false
			}
			if value != nil || name == "role" || name == "content" || name == "from" || name == "value" {
				out = append(out, member{name, value, raw})
			}
		}
		slices.SortFunc(out, func(a, b member) int { return strings.Compare(a.name, b.name) })
		return out, true
	case json.RawMessage:
		if len(v) == 0 || v[0] != '{' {
			return nil, false
		}
		d := jsontext.NewDecoder(bytes.NewReader(v))
		err := object(d, func(d *jsontext.Decoder) (any, error) { return d.ReadValue() }, func(name string, value any) {
			raw := json.RawMessage(bytes.Clone(value.(jsontext.Value)))
			out = append(out, member{name, plain(raw), raw})
		})
		return out, err == nil
	}
	return nil, false
}

// plain is a value as Row has it.
func plain(raw json.RawMessage) any {
	v, err := value(jsontext.NewDecoder(bytes.NewReader(raw)))
	if err != nil {
		return nil
	}
	return v
}

// asObject writes members as an object, nil if there are none.
func asObject(members []member) json.RawMessage {
	if len(members) == 0 {
		return nil
	}
	var b bytes.Buffer
	for i, x := range members {
		if i > 0 {
			b.WriteByte(',')
		} else {
			b.WriteByte('{')
		}
		name, _ := json.Marshal(x.name)
		b.Write(name)
		b.WriteByte(':')
		b.Write(x.raw)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// MarshalJSON writes a turn as a message with role and content.
func (t Turn) MarshalJSON() ([]byte, error) {
	members := []member{{name: "role"}, {name: "content"}}
	for i, text := range []string{t.Role, t.Content} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(text); err != nil {
			return nil, err
		}
		members[i].raw = bytes.TrimSpace(b.Bytes())
	}
	if t.More != nil {
		more, ok := membersOf(t.More)
		if !ok {
			return nil, fmt.Errorf("further members are no JSON object")
		}
		for _, x := range more {
			if x.name == "content" { // null
				members[1] = x
				continue
			}
			members = append(members, x)
		}
	}
	return asObject(members), nil
}
