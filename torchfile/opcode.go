package torchfile

import "fmt"

// opcode is an instruction of a pickle, named as in Python's pickletools.
type opcode byte

// The instructions that are followed.
const (
	opMark            opcode = '('
	opStop            opcode = '.'
	opBinFloat        opcode = 'G'
	opBinInt          opcode = 'J'
	opBinInt1         opcode = 'K'
	opBinInt2         opcode = 'M'
	opNone            opcode = 'N'
	opBinPersID       opcode = 'Q'
	opReduce          opcode = 'R'
	opBinString       opcode = 'T'
	opShortBinString  opcode = 'U'
	opBinUnicode      opcode = 'X'
	opEmptyList       opcode = ']'
	opAppend          opcode = 'a'
	opBuild           opcode = 'b'
	opGlobal          opcode = 'c'
	opAppends         opcode = 'e'
	opBinGet          opcode = 'h'
	opLongBinGet      opcode = 'j'
	opBinPut          opcode = 'q'
	opLongBinPut      opcode = 'r'
	opSetItem         opcode = 's'
	opTuple           opcode = 't'
	opSetItems        opcode = 'u'
	opEmptyDict       opcode = '}'
	opEmptyTuple      opcode = ')'
	opProto           opcode = 0x80
	opTuple1          opcode = 0x85
	opTuple2          opcode = 0x86
	opTuple3          opcode = 0x87
	opNewTrue         opcode = 0x88
	opNewFalse        opcode = 0x89
	opLong1           opcode = 0x8a
	opShortBinUnicode opcode = 0x8c
	opBinUnicode8     opcode = 0x8d
	opStackGlobal     opcode = 0x93
	opMemoize         opcode = 0x94
	opFrame           opcode = 0x95
)

// String names every instruction there is, so that a refusal can be looked up.
func (o opcode) String() string {
	names := map[opcode]string{
		opMark: "MARK", opStop: "STOP", opBinFloat: "BINFLOAT", opBinInt: "BININT", opBinInt1: "BININT1",
		opBinInt2: "BININT2", opNone: "NONE", opBinPersID: "BINPERSID", opReduce: "REDUCE",
		opBinString: "BINSTRING", opShortBinString: "SHORT_BINSTRING", opBinUnicode: "BINUNICODE",
		opEmptyList: "EMPTY_LIST", opAppend: "APPEND", opBuild: "BUILD", opGlobal: "GLOBAL",
		opAppends: "APPENDS", opBinGet: "BINGET", opLongBinGet: "LONG_BINGET", opBinPut: "BINPUT",
		opLongBinPut: "LONG_BINPUT", opSetItem: "SETITEM", opTuple: "TUPLE", opSetItems: "SETITEMS",
		opEmptyDict: "EMPTY_DICT", opEmptyTuple: "EMPTY_TUPLE", opProto: "PROTO", opTuple1: "TUPLE1",
		opTuple2: "TUPLE2", opTuple3: "TUPLE3", opNewTrue: "NEWTRUE", opNewFalse: "NEWFALSE",
		opLong1: "LONG1", opShortBinUnicode: "SHORT_BINUNICODE", opBinUnicode8: "BINUNICODE8",
		opStackGlobal: "STACK_GLOBAL", opMemoize: "MEMOIZE", opFrame: "FRAME",

		'0': "POP", '1': "POP_MARK", '2': "DUP", 'F': "FLOAT", 'I': "INT", 'L': "LONG", 'P': "PERSID",
		'S': "STRING", 'V': "UNICODE", 'd': "DICT", 'i': "INST", 'g': "GET", 'l': "LIST", 'o': "OBJ",
		'p': "PUT", 0x81: "NEWOBJ", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x8b: "LONG4",
		'B': "BINBYTES", 'C': "SHORT_BINBYTES", 0x8e: "BINBYTES8", 0x8f: "EMPTY_SET", 0x90: "ADDITEMS",
		0x91: "FROZENSET", 0x92: "NEWOBJ_EX", 0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
	}
	if name, ok := names[o]; ok {
		return name
	}
	return fmt.Sprintf("0x%02x", byte(o))
}
