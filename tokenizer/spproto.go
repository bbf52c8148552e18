package tokenizer

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Piece types of sentencepiece_model.proto.
const (
	pieceNormal      = 1
	pieceUnknown     = 2
	pieceControl     = 3
	pieceUserDefined = 4
	pieceUnused      = 5
	pieceByte        = 6
)

type spPiece struct {
	text  string
	score float32
	kind  uint64
}

// spFile is the part of a SentencePiece ModelProto that decides encoding and decoding.
type spFile struct {
	pieces []spPiece

	modelType         uint64
	byteFallback      bool
	whitespaceSuffix  bool
	unkSurface        string
	bosID, eosID      int
	normaliser        string
	charsmap          bool
	dummyPrefix       bool
	removeWhitespace  bool
	escapeWhitespace  bool
	denormaliserRules bool
}

// readSentencePiece reads the protocol buffer with the defaults its schema declares.
func readSentencePiece(data []byte) (*spFile, error) {
	f := &spFile{
		modelType: 1, unkSurface: " \u2047 ", bosID: 1, eosID: 2,
		dummyPrefix: true, removeWhitespace: true, escapeWhitespace: true,
	}
	err := eachField(data, func(v field) error {
		switch v.number {
		case 1:
			return f.addPiece(v.bytes)
		case 2:
			return eachField(v.bytes, f.trainer)
		case 3:
			return eachField(v.bytes, f.normalizer)
		case 5:
			return eachField(v.bytes, f.denormalizer)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("not a SentencePiece model: %w; get the file again", err)
	}
	if len(f.pieces) == 0 {
		return nil, errors.New("not a SentencePiece model: no pieces; get the file again")
	}
	return f, nil
}

func (f *spFile) addPiece(data []byte) error {
	p := spPiece{kind: pieceNormal}
	err := eachField(data, func(v field) error {
		switch v.number {
		case 1:
			p.text = string(v.bytes)
		case 2:
			p.score = math.Float32frombits(v.number32)
		case 3:
			p.kind = v.varint
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("piece %d: %w", len(f.pieces), err)
	}
	if len(f.pieces) >= maxTokens {
		return fmt.Errorf("more than %d pieces: %w", maxTokens, ErrUnsupported)
	}
	f.pieces = append(f.pieces, p)
	return nil
}

func (f *spFile) trainer(v field) error {
	switch v.number {
	case 3:
		f.modelType = v.varint
	case 24:
		f.whitespaceSuffix = v.varint != 0
	case 35:
		f.byteFallback = v.varint != 0
	case 41:
		f.bosID = int(int32(v.varint))
	case 42:
		f.eosID = int(int32(v.varint))
	case 44:
		f.unkSurface = string(v.bytes)
	}
	return nil
}

func (f *spFile) normalizer(v field) error {
	switch v.number {
	case 1:
		f.normaliser = string(v.bytes)
	case 2:
		f.charsmap = len(v.bytes) > 0
	case 3:
		f.dummyPrefix = v.varint != 0
	case 4:
		f.removeWhitespace = v.varint != 0
	case 5:
		f.escapeWhitespace = v.varint != 0
	}
	return nil
}

func (f *spFile) denormalizer(v field) error {
	if v.number == 2 {
		f.denormaliserRules = len(v.bytes) > 0
	}
	return nil
}

// field is one field of a message; which value is set follows from the wire type.
type field struct {
	number   protowire.Number
	varint   uint64
	number32 uint32
	bytes    []byte
}

// eachField calls visit for every field of a message, whatever its type.
func eachField(data []byte, visit func(field) error) error {
	for offset := 0; offset < len(data); {
		number, wire, n := protowire.ConsumeTag(data[offset:])
		if n < 0 {
			return fmt.Errorf("offset %d: %w", offset, protowire.ParseError(n))
		}
		v, m := consumeValue(number, wire, data[offset+n:])
		if m < 0 {
			return fmt.Errorf("offset %d, field %d: %w", offset, number, protowire.ParseError(m))
		}
		if err := visit(v); err != nil {
			return err
		}
		offset += n + m
	}
	return nil
}

func consumeValue(number protowire.Number, wire protowire.Type, data []byte) (field, int) {
	v := field{number: number}
	var n int
	switch wire {
	case protowire.VarintType:
		v.varint, n = protowire.ConsumeVarint(data)
	case protowire.Fixed32Type:
		v.number32, n = protowire.ConsumeFixed32(data)
	case protowire.BytesType:
		v.bytes, n = protowire.ConsumeBytes(data)
	default:
		n = protowire.ConsumeFieldValue(number, wire, data)
	}
	return v, n
}
