package torchfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// The limits of one pickle. A shard of a hundred billion parameters needs a
// hundredth of them.
const (
	maxOpcodes = 1 << 20  // a tensor takes about thirty; an opcode at most some hundred bytes
	maxPickle  = 32 << 20 // bytes, strings among them
	maxString  = 1 << 16  // bytes of one string
	maxGlobal  = 256      // bytes of a module's or function's name
)

// What a pickle can leave on the stack, beside nil, bool, int64, float64 and
// string. Nothing is nested deeper than it costs opcodes, and nothing walks into
// the depth.
type (
	tuple  []any
	list   struct{ items []any }
	dict   struct{ pairs []pair }
	pair   struct{ key, value any }
	global string // an allowed name, module and all
	bigInt string // digits of an integer of more than eight bytes
)

// machine runs one pickle.
type machine struct {
	path   string
	in     *bufio.Reader
	pos    int64 // in the file
	end    int64 // the pickle does not go on after this
	stack  []any
	marks  []int // heights of the stack
	memo   map[uint32]any
	op     opcode
	at     int64 // where op lies
	known  bool  // op has been read
	budget int   // opcodes left
	buf    [256]byte
}

// unpickle runs the pickle that starts at a position of r and goes no further
// than end. It returns what the pickle describes and where it ended.
func unpickle(r io.ReaderAt, pos, end int64, path string) (value any, next int64, err error) {
	m := &machine{path: path, in: bufio.NewReaderSize(io.NewSectionReader(r, pos, end-pos), 1<<12),
		pos: pos, end: min(end, pos+maxPickle), memo: make(map[uint32]any), budget: maxOpcodes}
	for {
		done, err := m.step()
		if err != nil {
			return nil, 0, m.explain(err)
		}
		if done {
			return m.stack[0], m.pos, nil
		}
	}
}

// refusal is a problem with the current opcode, on its way to a FormatError.
type refusal struct{ problem, remedy string }

func (r *refusal) Error() string { return r.problem }

// damaged is a refusal of what no pickle writer writes.
func damaged(format string, args ...any) error {
	return &refusal{problem: fmt.Sprintf(format, args...)}
}

// unwanted is a refusal of what is valid but not done.
func unwanted(format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...), saveAgain}
}

func (m *machine) explain(err error) error {
	var r *refusal
	if !errors.As(err, &r) {
		return fmt.Errorf("read %s: %w", m.path, err)
	}
	e := &FormatError{Path: m.path, Offset: m.at, Problem: r.problem, Remedy: r.remedy}
	if m.known {
		e.Opcode = m.op.String()
	}
	return e
}

// step follows one instruction.
func (m *machine) step() (done bool, err error) {
	m.at, m.known = m.pos, false
	b, err := m.read(1)
	if err != nil {
		return false, err
	}
	m.op, m.known = opcode(b[0]), true
	if m.budget--; m.budget < 0 {
		return false, damaged("the pickle has more than %d instructions", maxOpcodes)
	}
	switch m.op {
	case opStop:
		if len(m.stack) != 1 || len(m.marks) != 0 {
			return false, damaged("%d values are left where one is wanted", len(m.stack))
		}
		return true, nil
	case opProto, opFrame:
		return false, m.header()
	case opMark:
		m.marks = append(m.marks, len(m.stack))
		return false, nil
	case opBinPut, opLongBinPut, opMemoize:
		return false, m.put()
	case opBinGet, opLongBinGet:
		return false, m.get()
	case opAppend, opAppends, opSetItem, opSetItems, opBuild:
		return false, m.fill()
	}
	v, err := m.value()
	m.stack = append(m.stack, v)
	return false, err
}

// header passes over what frames the instructions.
func (m *machine) header() error {
	if m.op == opFrame {
		_, err := m.read(8)
		return err
	}
	version, err := m.number(1)
	if err == nil && version > 5 {
		err = damaged("protocol %d is not known", version)
	}
	return err
}

// value follows an instruction that pushes one value.
func (m *machine) value() (any, error) {
	switch m.op {
	case opNone:
		return nil, nil
	case opNewTrue, opNewFalse:
		return m.op == opNewTrue, nil
	case opEmptyTuple:
		return tuple{}, nil
	case opEmptyList:
		return &list{}, nil
	case opEmptyDict:
		return &dict{}, nil
	case opBinInt, opBinInt1, opBinInt2, opLong1:
		return m.integer()
	case opBinFloat:
		b, err := m.read(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case opBinString, opShortBinString, opBinUnicode, opShortBinUnicode, opBinUnicode8:
		return m.text()
	case opTuple:
		items, err := m.sinceMark()
		return tuple(items), err
	case opTuple1, opTuple2, opTuple3:
		items, err := m.pop(int(m.op-opTuple1) + 1)
		return tuple(items), err
	case opGlobal, opStackGlobal:
		return m.global()
	case opReduce:
		v, err := m.pop(2)
		if err != nil {
			return nil, err
		}
		return reduce(v[0], v[1])
	case opBinPersID:
		v, err := m.pop(1)
		if err != nil {
			return nil, err
		}
		return storageOf(v[0])
	}
	return nil, unwanted("this instruction is not needed to describe tensors and is not followed")
}

func (m *machine) integer() (any, error) {
	switch m.op {
	case opBinInt1:
		return m.number(1)
	case opBinInt2:
		return m.number(2)
	case opBinInt:
		n, err := m.number(4)
		return int64(int32(n)), err
	}
	size, err := m.number(1)
	if err != nil {
		return nil, err
	}
	b, err := m.read(int(size))
	if err != nil || size > 8 {
		return bigInt(b), err
	}
	var wide [8]byte
	if size > 0 && b[size-1] >= 0x80 {
		binary.LittleEndian.PutUint64(wide[:], math.MaxUint64)
	}
	copy(wide[:], b)
	return int64(binary.LittleEndian.Uint64(wide[:])), nil
}

// number reads an unsigned integer of up to eight bytes, least first.
func (m *machine) number(size int) (int64, error) {
	b, err := m.read(size)
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	return int64(binary.LittleEndian.Uint64(wide[:])), nil
}

func (m *machine) text() (any, error) {
	width := 4
	switch m.op {
	case opShortBinString, opShortBinUnicode:
		width = 1
	case opBinUnicode8:
		width = 8
	}
	n, err := m.number(width)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > maxString {
		return nil, damaged("a string of %d bytes is over the limit of %d", uint64(n), maxString)
	}
	b, err := m.read(int(n))
	if err == nil && !utf8.Valid(b) {
		err = damaged("the string is not valid UTF-8")
	}
	return string(b), err
}

// global reads a name and allows it only if it is one that describes tensors.
func (m *machine) global() (any, error) {
	var module, name string
	if m.op == opStackGlobal {
		v, err := m.pop(2)
		if err != nil {
			return nil, err
		}
		var ok [2]bool
		module, ok[0] = v[0].(string)
		name, ok[1] = v[1].(string)
		if !ok[0] || !ok[1] {
			return nil, damaged("it wants two names, not %s and %s", kindOf(v[0]), kindOf(v[1]))
		}
	} else {
		var err error
		if module, err = m.line(); err != nil {
			return nil, err
		}
		if name, err = m.line(); err != nil {
			return nil, err
		}
	}
	g := global(module + "." + name)
	if !g.allowed() {
		return nil, unwanted("it asks for %q, which is not needed to describe tensors; nothing was run", string(g))
	}
	return g, nil
}

// fill adds to the container below the values that an instruction takes.
func (m *machine) fill() error {
	var items []any
	var err error
	switch m.op {
	case opAppends, opSetItems:
		items, err = m.sinceMark()
	case opSetItem:
		items, err = m.pop(2)
	default:
		items, err = m.pop(1)
	}
	if err != nil {
		return err
	}
	if len(m.stack) == m.floor() {
		return damaged("there is nothing to add to")
	}
	top := m.stack[len(m.stack)-1]
	switch m.op {
	case opAppend, opAppends:
		to, ok := top.(*list)
		if !ok {
			return damaged("it adds to %s, not to a list", kindOf(top))
		}
		to.items = append(to.items, items...)
		return nil
	case opBuild:
		// The attributes of a state dict (_metadata) say nothing about tensors.
		if _, ok := top.(*dict); !ok {
			return unwanted("it sets attributes of %s", kindOf(top))
		}
		return nil
	}
	to, ok := top.(*dict)
	if !ok || len(items)%2 != 0 {
		return damaged("it sets items of %s, %d keys and values", kindOf(top), len(items))
	}
	for i := 0; i < len(items); i += 2 {
		to.pairs = append(to.pairs, pair{items[i], items[i+1]})
	}
	return nil
}

func (m *machine) put() error {
	if len(m.stack) == m.floor() {
		return damaged("there is nothing to remember")
	}
	key := uint32(len(m.memo))
	if m.op != opMemoize {
		var err error
		if key, err = m.key(opBinPut); err != nil {
			return err
		}
	}
	m.memo[key] = m.stack[len(m.stack)-1]
	return nil
}

func (m *machine) get() error {
	key, err := m.key(opBinGet)
	if err != nil {
		return err
	}
	v, ok := m.memo[key]
	if !ok {
		return damaged("nothing was remembered as %d", key)
	}
	m.stack = append(m.stack, v)
	return nil
}

// key reads a place of the memo: one byte after the short opcode, else four.
func (m *machine) key(short opcode) (uint32, error) {
	width := 4
	if m.op == short {
		width = 1
	}
	n, err := m.number(width)
	return uint32(n), err
}

// floor is the height below which instructions without a mark may not reach.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) pop(n int) ([]any, error) {
	if len(m.stack)-m.floor() < n {
		return nil, damaged("the stack is too short")
	}
	return m.cut(len(m.stack) - n), nil
}

func (m *machine) sinceMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, damaged("there is no mark")
	}
	from := m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	return m.cut(from), nil
}

// cut takes the values from a height on off the stack.
func (m *machine) cut(from int) []any {
	items := append([]any(nil), m.stack[from:]...)
	clear(m.stack[from:])
	m.stack = m.stack[:from]
	return items
}

// read returns the next n bytes, which hold until it is called again.
func (m *machine) read(n int) ([]byte, error) {
	if int64(n) > m.end-m.pos {
		return nil, damaged("the pickle ends in the middle, or is over the limit of %d bytes", maxPickle)
	}
	b := m.buf[:min(n, len(m.buf))]
	if n > len(b) {
		b = make([]byte, n)
	}
	if _, err := io.ReadFull(m.in, b); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, damaged("the file ends in the middle of the pickle")
		}
		return nil, err
	}
	m.pos += int64(n)
	return b, nil
}

// line returns the bytes up to the next newline.
func (m *machine) line() (string, error) {
	var b strings.Builder
	for b.Len() <= maxGlobal {
		c, err := m.read(1)
		if err != nil {
			return "", err
		}
		if c[0] == '\n' {
			return b.String(), nil
		}
		b.WriteByte(c[0])
	}
	return "", damaged("a name is longer than %d bytes", maxGlobal)
}

// kindOf names a value for an error, without showing what is in it.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case int64, bigInt:
		return "an int"
	case float64:
		return "a float"
	case string:
		return "a str"
	case tuple:
		return "a tuple"
	case *list:
		return "a list"
	case *dict:
		return "a dict"
	case global:
		return string(v)
	case *storage:
		return "a storage"
	case *described:
		return "a tensor"
	}
	return "a value"
}
