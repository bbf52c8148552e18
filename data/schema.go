package data

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Schema is what the columns of a row of training data mean.
type Schema string

// The schemas that are known.
const (
	SchemaMessages   Schema = "messages"          // a conversation: role, content
	SchemaShareGPT   Schema = "sharegpt"          // a conversation: from, value
	SchemaAlpaca     Schema = "alpaca"            // instruction, input, output: the output is learnt
	SchemaDolly      Schema = "dolly"             // instruction, context, response: the response is learnt
	SchemaCompletion Schema = "prompt-completion" // the completion is learnt; each a text or messages
	SchemaChoice     Schema = "multiple-choice"   // question, choices, answer, as MMLU's: the letter of the answer is learnt
	SchemaText       Schema = "text"              // one column of text, all of it learnt
)

// Schemas lists them, in the order in which they are looked for.
func Schemas() []Schema {
	return []Schema{SchemaMessages, SchemaShareGPT, SchemaAlpaca, SchemaDolly, SchemaCompletion, SchemaChoice, SchemaText}
}

// columns that a schema must have, a bar between names of the same one, and those
// that it may have.
func (s Schema) columns() (must, may []string) {
	switch s {
	case SchemaMessages:
		return []string{"messages"}, []string{"tools"}
	case SchemaShareGPT:
		return []string{"conversations"}, []string{"tools"}
	case SchemaAlpaca:
		return []string{"instruction", "output"}, []string{"input"}
	case SchemaDolly:
		return []string{"instruction", "response"}, []string{"context"}
	case SchemaCompletion:
		return []string{"prompt", "completion|response"}, []string{"tools"}
	case SchemaChoice:
		return []string{"choices", "answer", "question"}, nil
	}
	return []string{DefaultField}, nil
}

// keys are the names inside each message of a conversation.
func (s Schema) keys() []string {
	switch s {
	case SchemaMessages, SchemaCompletion:
		return []string{"role", "content"}
	case SchemaShareGPT:
		return []string{"from", "value"}
	}
	return nil
}

// wants is what a schema asks for, in words.
func (s Schema) wants() string {
	must, may := s.columns()
	text := strings.ReplaceAll(strings.Join(must, ", "), "|", " or ")
	if len(may) > 0 {
		text += " (and may have " + strings.Join(may, ", ") + ")"
	}
	return fmt.Sprintf("%s wants %s", s, text)
}

// Renames are names of columns, or of what is in a message, by the name that a
// schema has for them: "output" → "answer".
type Renames map[string]string

// ParseRenames reads "output=answer", the schema's name first. An unknown name is
// an error that lists those of the schemas.
func ParseRenames(pairs []string) (Renames, error) {
	known := names()
	m := Renames{}
	for _, pair := range pairs {
		name, column, found := strings.Cut(pair, "=")
		if !found || name == "" || column == "" {
			return nil, fmt.Errorf("%q: want NAME=COLUMN, such as output=answer", pair)
		}
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%q: no schema has %s; they have %s", pair, name, strings.Join(known, ", "))
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("%s is given twice", name)
		}
		m[name] = column
	}
	return m, nil
}

// names lists all that schemas name.
func names() []string {
	var all []string
	for _, s := range Schemas() {
		must, may := s.columns()
		for _, c := range slices.Concat(must, may, s.keys()) {
			for _, name := range strings.Split(c, "|") {
				if !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

// column is the file's name of a schema's column.
func (m Renames) column(name string) string {
	if other, ok := m[name]; ok {
		return other
	}
	return name
}

// in is the row's name of a schema's column: the other one where the row has that or
// lacks both, so that sets of either kind can be mixed.
func (m Renames) in(r Row, name string) string {
	other := m.column(name)
	if !slices.Contains(r.Columns, other) && slices.Contains(r.Columns, name) {
		return name
	}
	return other
}

// find is the first of a schema's names, a bar between them, that a row has under
// the file's name for it; said says what the first is called.
func (m Renames) find(r Row, names string) (column string, found bool) {
	for _, name := range strings.Split(names, "|") {
		if c := m.in(r, name); slices.Contains(r.Columns, c) {
			return c, true
		}
	}
	first, _, _ := strings.Cut(names, "|")
	return m.column(first), false
}

// DetectSchema recognises a schema by its columns. The error lists the columns
// that were found and what each schema wants.
func DetectSchema(r Row, m Renames) (Schema, error) {
	var wants []string
	for _, s := range Schemas() {
		must, _ := s.columns()
		if !slices.ContainsFunc(must, func(c string) bool { _, ok := m.find(r, c); return !ok }) {
			return s, nil
		}
		wants = append(wants, s.wants())
	}
	return "", r.Fail(fmt.Sprintf("its columns, %s, are of no known schema", strings.Join(r.Columns, ", ")), strings.Join(wants, "; ")+"; other names are given by --map, such as --map output=answer")
}

// Example is what a row of training data says.
type Example struct {
	// Turns are a conversation, those up to Given a prompt of which nothing is learnt.
	Turns []Turn
	Given int
	Tools json.RawMessage // a list of what the model may call; nil: nothing

	// Prompt and Answer are texts where Turns are nil. A text has no prompt.
	Prompt, Answer string
	// Instructed says that Prompt puts an instruction into Alpaca's words;
	// Instruction is the same in plain ones.
	Instructed  bool
	Instruction string
}

// Read reads a row by a schema. Errors name file, row and field. Rows of JSON
// files must have been read with RowOptions.Raw, or the order of what is in a tool
// call is lost.
func (s Schema) Read(r Row, m Renames) (Example, error) {
	switch s {
	case SchemaText:
		text, err := r.Text(m.in(r, DefaultField))
		return Example{Answer: text}, err
	case SchemaMessages, SchemaShareGPT:
		return s.conversation(r, m)
	case SchemaCompletion:
		return s.completion(r, m)
	case SchemaChoice:
		return s.choice(r, m)
	case SchemaDolly:
		return s.instruction(r, m, "context", "response")
	}
	return s.instruction(r, m, "input", "output")
}

// instruction reads Alpaca's and Dolly's rows; the input may be absent or empty.
func (s Schema) instruction(r Row, m Renames, input, output string) (Example, error) {
	x := Example{Instructed: true}
	instruction, err := r.Text(m.in(r, "instruction"))
	if err != nil {
		return x, err
	}
	if x.Answer, err = r.Text(m.in(r, output)); err != nil {
		return x, err
	}
	more, err := optional(r, m.in(r, input))
	if err != nil {
		return x, err
	}
	x.Prompt, x.Instruction = AlpacaPrompt(instruction, more), instruction
	if more != "" {
		x.Instruction += "\n\n" + more
	}
	return x, nil
}

// optional reads a column of text that may be absent or null.
func optional(r Row, column string) (string, error) {
	if i := slices.Index(r.Columns, column); i < 0 || r.Values[i] == nil {
		return "", nil
	}
	return r.Text(column)
}

// conversation reads the rows that are one.
func (s Schema) conversation(r Row, m Renames) (x Example, err error) {
	must, _ := s.columns()
	if x.Turns, err = s.turns(r, m, m.in(r, must[0]), nil); err != nil {
		return x, err
	}
	x.Tools, err = tools(r, m)
	return x, err
}

// completion reads a prompt and what follows, both texts or both messages.
func (s Schema) completion(r Row, m Renames) (x Example, err error) {
	prompt := m.in(r, "prompt")
	answer, found := m.find(r, "completion|response")
	if !found {
		return x, r.Fail(fmt.Sprintf("has no column %q (it has: %s)", answer, strings.Join(r.Columns, ", ")), s.wants())
	}
	first, err := r.Value(prompt)
	if err != nil {
		return x, err
	}
	second, _ := r.Value(answer)
	_, text1 := first.(string)
	_, text2 := second.(string)
	if text1 && text2 && !isList(first) {
		x.Prompt, x.Answer = first.(string), second.(string)
		return x, nil
	}
	if text1 && !isList(first) {
		return x, r.Fail(fmt.Sprintf("%s holds a text and %s %s", prompt, answer, kindOf(second)), "both must be texts, or both messages")
	}
	if x.Turns, err = s.turns(r, m, prompt, nil); err != nil {
		return x, err
	}
	x.Given = len(x.Turns)
	if x.Turns, err = s.turns(r, m, answer, x.Turns); err != nil {
		return x, err
	}
	x.Tools, err = tools(r, m)
	return x, err
}

// AlpacaPrompt is the prompt that Stanford Alpaca was trained with (Taori et al.
// 2023), as its followers have it: the answer comes right after "### Response:\n".
func AlpacaPrompt(instruction, input string) string {
	if input == "" {
		return "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n" +
			instruction + "\n\n### Response:\n"
	}
	return "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\n" +
		instruction + "\n\n### Input:\n" + input + "\n\n### Response:\n"
}

// AsPrompt recognises the schema of a row whose answer is asked for, which need not
// be there: "", or s itself where one is said. The row that Read then takes has an
// empty one.
func (s Schema) AsPrompt(r Row, m Renames) (Schema, Row, error) {
	order := Schemas()
	if _, ok := m.find(r, "context|response"); ok { // Dolly's rows may lack all that Alpaca's do not have
		order = append([]Schema{SchemaDolly}, order...)
	}
	for _, one := range order {
		must, _ := one.columns()
		if s != "" && one != s {
			continue
		}
		if _, ok := m.find(r, must[0]); !ok && s == "" {
			continue
		}
		if len(must) > 1 {
			if column, ok := m.find(r, must[1]); !ok {
				r.Columns, r.Values = append(slices.Clone(r.Columns), column), append(slices.Clone(r.Values), any(""))
			}
		}
		return one, r, nil
	}
	_, err := DetectSchema(r, m)
	return "", r, err
}
