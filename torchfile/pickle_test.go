package torchfile_test

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/torchfile"
)

// A pickle that is damaged, or asks for more than a tensor, is refused at the
// opcode that asks.
func TestPickleRefused(t *testing.T) {
	tests := []struct {
		name, pickle string
		opcode       string
		offset       int64
		want         string
	}{
		{"os.system", "\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.", "GLOBAL", 2, `"os.system"`},
		{"os.system, protocol 4", "\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.", "STACK_GLOBAL", 28, `"posix.system"`},
		{"eval behind an allowed module", "\x80\x02ctorch._utils\neval\n.", "GLOBAL", 2, `"torch._utils.eval"`},
		{"dots in a name", "\x80\x02ctorch\n_utils.os.system\n.", "GLOBAL", 2, "os.system"},
		{"a class of a storage is called", "\x80\x02ctorch\nFloatStorage\n)R.", "REDUCE", 23, "nothing was run"},
		{"a string is called", "\x80\x02U\x02os)R.", "REDUCE", 7, "calls a str"},
		{"an object is built", "\x80\x02ctorch\nSize\n)\x81.", "NEWOBJ", 15, "not followed"},
		{"INST", "\x80\x02(ios\nsystem\n.", "INST", 3, "not followed"},
		{"OBJ", "\x80\x02(ctorch\nSize\no.", "OBJ", 15, "not followed"},
		{"extension registry", "\x80\x02\x82\x01.", "EXT1", 2, "not followed"},
		{"attributes of a tensor class", "\x80\x02ctorch\nSize\n}b.", "BUILD", 15, "sets attributes"},
		{"text persistent id", "\x80\x02P0\n.", "PERSID", 2, "not followed"},
		{"unknown opcode", "\x80\x02\xff.", "0xff", 2, "not followed"},
		{"protocol of the future", "\x80\x09.", "PROTO", 0, "protocol 9"},
		{"LONG4 of two gigabytes", "\x80\x02\x8b\xff\xff\xff\x7f", "LONG4", 2, "not followed"},
		{"string of two gigabytes", "\x80\x02X\xff\xff\xff\x7f", "BINUNICODE", 2, "over the limit"},
		{"string of 2^63 bytes", "\x80\x04\x8d\x00\x00\x00\x00\x00\x00\x00\x80", "BINUNICODE8", 2, "over the limit"},
		{"string past the end", "\x80\x02X\x05\x00\x00\x00ab", "BINUNICODE", 2, "ends in the middle"},
		{"string not UTF-8", "\x80\x02U\x01\xff.", "SHORT_BINSTRING", 2, "UTF-8"},
		{"endless name", "\x80\x02c" + strings.Repeat("x", 1000) + "\n", "GLOBAL", 2, "longer than"},
		{"no STOP", "\x80\x02}", "", 3, "ends in the middle"},
		{"empty", "", "", 0, "ends in the middle"},
		{"nothing left", "\x80\x02.", "STOP", 2, "0 values"},
		{"two left", "\x80\x02NN.", "STOP", 4, "2 values"},
		{"open mark", "\x80\x02(N.", "STOP", 4, "are left"},
		{"stack too short", "\x80\x02N\x86.", "TUPLE2", 3, "too short"},
		{"under a mark", "\x80\x02N(\x85.", "TUPLE1", 4, "too short"},
		{"no mark", "\x80\x02Nt.", "TUPLE", 3, "no mark"},
		{"nothing to remember", "\x80\x02q\x00.", "BINPUT", 2, "nothing to remember"},
		{"not remembered", "\x80\x02h\x07.", "BINGET", 2, "nothing was remembered as 7"},
		{"append to a dict", "\x80\x02}Na.", "APPEND", 4, "to a dict"},
		{"key without value", "\x80\x02}(Nu.", "SETITEMS", 5, "items of a dict, 1"},
		{"items of a tuple", "\x80\x02)NNs.", "SETITEM", 5, "items of a tuple"},
		{"no storage", "\x80\x02NQ.", "BINPERSID", 3, "does not name a storage"},
		{"arguments not a tuple", "\x80\x02ctorch\nSize\nNR.", "REDUCE", 15, "None, not a tuple"},
		{"tensor of nothing", "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))\x89Nt", "", 44, "ends in the middle"},
		{"tensor without storage", "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))\x89NtR.", "REDUCE", 44, "None"},
		{"negative storage", "\x80\x02((U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuJ\xff\xff\xff\xfftQ.", "BINPERSID", 46, "described by"},
		{"endless", "\x80\x02" + strings.Repeat("N", torchfile.MaxOpcodes), "NONE", torchfile.MaxOpcodes + 1, "more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := torchfile.Unpickle([]byte(tt.pickle))
			var format *torchfile.FormatError
			if !errors.As(err, &format) {
				t.Fatalf("got %v, want a FormatError", err)
			}
			if format.Opcode != tt.opcode || format.Offset != tt.offset || format.Path != "x.bin" {
				t.Errorf("%s at %d of %s, want %s at %d", format.Opcode, format.Offset, format.Path, tt.opcode, tt.offset)
			}
			for _, want := range []string{tt.want, tt.opcode, "x.bin"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q: %v", want, err)
				}
			}
		})
	}
}

// What PyTorch and Python may well write is followed.
func TestPickleAllowed(t *testing.T) {
	const ordered = "ccollections\nOrderedDict\n"
	for name, pickle := range map[string]string{
		"empty dict":               "\x80\x02}.",
		"ordered dict":             "\x80\x02" + ordered + ")R.",
		"ordered dict, Python 2":   "\x80\x02" + ordered + "](](U\x01aK\x01ee\x85R.",
		"attributes":               "\x80\x02" + ordered + ")R}U\x09_metadata}sb.",
		"size":                     "\x80\x02ctorch\nSize\nK\x01K\x02\x86\x85R.",
		"protocol 4":               "\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x93)R\x94.",
		"integers":                 "\x80\x02(K\x01M\x00\x01J\xff\xff\xff\xff\x8a\x00\x8a\x01\xff\x8a\x09123456789G\x00\x00\x00\x00\x00\x00\x00\x00t.",
		"a list that holds itself": "\x80\x02]q\x00h\x00a.",
		"storage of the card":      "\x80\x02((U\x07storagectorch.cuda\nHalfStorage\nU\x010U\x06cuda:0K\x05tQt.",
	} {
		t.Run(name, func(t *testing.T) {
			if err := torchfile.Unpickle([]byte(pickle)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A pickle cannot take much more memory than the file is long, whatever it nests
// or remembers.
func TestPickleMemory(t *testing.T) {
	deep := "\x80\x02" + strings.Repeat("(", torchfile.MaxOpcodes/2-2) + strings.Repeat("t", torchfile.MaxOpcodes/2-2) + "."
	var remembered bytes.Buffer
	remembered.WriteString("\x80\x02N")
	for i := range torchfile.MaxOpcodes - 10 {
		remembered.Write([]byte{'r', byte(i), byte(i >> 8), byte(i >> 16), 0xff})
	}
	remembered.WriteString(".")
	for name, pickle := range map[string]string{
		"deep":       deep,
		"remembered": remembered.String(),
		"dicts":      "\x80\x02(" + strings.Repeat("}", torchfile.MaxOpcodes-10) + "t.",
		"strings":    "\x80\x02(" + strings.Repeat("X\x00\x80\x00\x00"+strings.Repeat("s", 1<<15), 2000) + "t.",
	} {
		t.Run(name, func(t *testing.T) {
			raw := []byte(pickle)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := torchfile.Unpickle(raw)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 400<<20 {
				t.Errorf("%d MB for a pickle of %d MB", used>>20, len(raw)>>20)
			}
			if name == "deep" || name == "remembered" || name == "dicts" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil {
				t.Error("64 MB of strings are read")
			}
		})
	}
}

func FuzzUnpickle(f *testing.F) {
	for _, seed := range []string{
		"\x80\x02}(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x06tQK\x00K\x06\x85K\x01\x85\x89N)tRu.",
		"\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x93)R\x94.",
		"\x80\x02]q\x00h\x00a.", "\x80\x02(K\x01M\x00\x01J\xff\xff\xff\xff\x8a\x01\xfft.", "\x80\x02cos\nsystem\n)R.",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := torchfile.Unpickle(raw)
		var format *torchfile.FormatError
		if err != nil && (!errors.As(err, &format) || format.Offset < 0 || format.Offset > int64(len(raw))) {
			t.Errorf("%v", err)
		}
	})
}
