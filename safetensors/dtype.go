package safetensors

// DType is the element type of a tensor, spelled as in the file.
type DType string

// The element types of the format.
const (
	BOOL        DType = "BOOL"
	F4          DType = "F4"
	F6_E2M3     DType = "F6_E2M3"
	F6_E3M2     DType = "F6_E3M2"
	U8          DType = "U8"
	I8          DType = "I8"
	F8_E5M2     DType = "F8_E5M2"
	F8_E4M3     DType = "F8_E4M3"
	F8_E8M0     DType = "F8_E8M0"
	F8_E5M2FNUZ DType = "F8_E5M2FNUZ"
	F8_E4M3FNUZ DType = "F8_E4M3FNUZ"
	U16         DType = "U16"
	I16         DType = "I16"
	F16         DType = "F16"
	BF16        DType = "BF16"
	U32         DType = "U32"
	I32         DType = "I32"
	F32         DType = "F32"
	U64         DType = "U64"
	I64         DType = "I64"
	F64         DType = "F64"
	C64         DType = "C64"
)

// Bits returns the width of one element, or 0 for a type the format lacks.
func (d DType) Bits() int {
	switch d {
	case F4:
		return 4
	case F6_E2M3, F6_E3M2:
		return 6
	case BOOL, U8, I8, F8_E5M2, F8_E4M3, F8_E8M0, F8_E5M2FNUZ, F8_E4M3FNUZ:
		return 8
	case U16, I16, F16, BF16:
		return 16
	case U32, I32, F32:
		return 32
	case U64, I64, F64, C64:
		return 64
	}
	return 0
}

// Size returns the bytes of one element. It is 0 for unknown types and for the
// packed ones, which have no whole number of bytes: see Bits.
func (d DType) Size() int {
	if d.Bits()%8 != 0 {
		return 0
	}
	return d.Bits() / 8
}
