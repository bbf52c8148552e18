package data

import (
	"encoding/binary"
	"math"
	"math/big"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// leafOf returns what makes a Go value of a value of this Parquet type.
func leafOf(t parquet.Type) func(parquet.Value) (any, bool) {
	convert := plainOf(t)
	if logical := t.LogicalType(); logical != nil {
		if c := annotatedOf(t, logical.Value); c != nil {
			convert = c
		}
	}
	return func(v parquet.Value) (any, bool) {
		if v.IsNull() {
			return nil, true
		}
		return convert(v)
	}
}

// plainOf converts by the physical type alone.
func plainOf(t parquet.Type) func(parquet.Value) (any, bool) {
	switch t.Kind() {
	case parquet.Boolean:
		return func(v parquet.Value) (any, bool) { return v.Boolean(), true }
	case parquet.Int32:
		return func(v parquet.Value) (any, bool) { return int64(v.Int32()), true }
	case parquet.Int64:
		return func(v parquet.Value) (any, bool) { return v.Int64(), true }
	case parquet.Int96:
		return func(v parquet.Value) (any, bool) { return stamp(julian(v.Int96())), true }
	case parquet.Float:
		return func(v parquet.Value) (any, bool) { return float64(v.Float()), true }
	case parquet.Double:
		return func(v parquet.Value) (any, bool) { return v.Double(), true }
	}
	return func(v parquet.Value) (any, bool) {
		if b := v.ByteArray(); !utf8.Valid(b) {
			return append([]byte(nil), b...), true
		}
		return string(v.ByteArray()), true
	}
}

// annotatedOf converts by the annotation; nil where that adds nothing.
func annotatedOf(t parquet.Type, logical format.LogicalTypeValue) func(parquet.Value) (any, bool) {
	switch l := logical.(type) {
	case *format.StringType, *format.EnumType, *format.JsonType:
		return func(v parquet.Value) (any, bool) { return text8(v.ByteArray()) }
	case *format.IntType:
		if !l.IsSigned {
			return unsigned(t)
		}
	case *format.DecimalType:
		return decimal(t, int(l.Scale))
	case *format.DateType:
		return func(v parquet.Value) (any, bool) {
			return time.Unix(int64(v.Int32())*24*60*60, 0).UTC().Format(time.DateOnly), true
		}
	case *format.TimestampType:
		if l.Unit.Value != nil {
			return timestamp(l.Unit.Value.Duration())
		}
	case *format.Float16Type:
		return func(v parquet.Value) (any, bool) { return half(binary.LittleEndian.Uint16(v.ByteArray())), true }
	}
	return nil
}

func unsigned(t parquet.Type) func(parquet.Value) (any, bool) {
	if t.Kind() == parquet.Int32 {
		return func(v parquet.Value) (any, bool) { return int64(v.Uint32()), true }
	}
	return func(v parquet.Value) (any, bool) {
		if n := v.Uint64(); n > math.MaxInt64 {
			return float64(n), true
		}
		return v.Int64(), true
	}
}

// decimal: unscaled integer times 10^-scale, as the nearest float64.
func decimal(t parquet.Type, scale int) func(parquet.Value) (any, bool) {
	return func(v parquet.Value) (any, bool) {
		n := new(big.Int)
		switch t.Kind() {
		case parquet.Int32:
			n.SetInt64(int64(v.Int32()))
		case parquet.Int64:
			n.SetInt64(v.Int64())
		default: // big-endian two's complement
			b := v.ByteArray()
			n.SetBytes(b)
			if len(b) > 0 && b[0]&0x80 != 0 {
				n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
			}
		}
		ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
		f, _ := new(big.Rat).SetFrac(n, ten).Float64()
		return f, true
	}
}

func timestamp(unit time.Duration) func(parquet.Value) (any, bool) {
	return func(v parquet.Value) (any, bool) {
		n, per := v.Int64(), int64(time.Second/unit)
		return stamp(time.Unix(n/per, n%per*int64(unit))), true
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// julian reads a timestamp of old: nanoseconds of the day and the Julian day.
func julian(v deprecated.Int96) time.Time {
	const unixEpoch = 2440588
	nanos := int64(v[1])<<32 | int64(v[0])
	return time.Unix((int64(v[2])-unixEpoch)*24*60*60, nanos)
}

// half widens an IEEE 754 binary16.
func half(h uint16) float64 {
	sign, exponent, fraction := 1-2*float64(h>>15), int(h>>10&0x1f), float64(h&0x3ff)
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 0x1f:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}
