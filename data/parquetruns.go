package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
)

var errPage = errors.New("a page is damaged")

// first checks the content of a data page of version 1: levels, each with its
// length before it, then values.
func (p *pageCheck) first(h format.DataPageHeader, content []byte) error {
	part := func(max int, encoding format.Encoding, see func(level, n int)) error {
		if max == 0 {
			return nil
		}
		if len(content) < 4 || int64(binary.LittleEndian.Uint32(content)) > int64(len(content)-4) {
			return errPage
		}
		end := 4 + int(binary.LittleEndian.Uint32(content))
		levels := content[4:end]
		content = content[end:]
		if encoding != format.RLE { // an old one, which does not grow
			return nil
		}
		return p.runs(levels, bits.Len(uint(max)), int(h.NumValues), see)
	}
	if err := part(p.levels.rep, h.RepetitionLevelEncoding, p.see); err != nil {
		return err
	}
	if err := part(p.levels.def, h.DefinitionLevelEncoding, nil); err != nil {
		return err
	}
	return p.rowAndValues(h.Encoding, content, int(h.NumValues))
}

// second checks a page of version 2, whose levels are not packed.
func (p *pageCheck) second(h format.DataPageHeaderV2, raw []byte, size int) error {
	if err := p.count(h.NumValues); err != nil {
		return err
	}
	rep, def := int64(h.RepetitionLevelsByteLength), int64(h.DefinitionLevelsByteLength)
	if rep < 0 || def < 0 || rep+def > int64(len(raw)) || rep+def > int64(size) {
		return errPage
	}
	if p.levels.rep > 0 {
		if err := p.runs(raw[:rep], bits.Len(uint(p.levels.rep)), int(h.NumValues), p.see); err != nil {
			return err
		}
	}
	if p.levels.def > 0 {
		if err := p.runs(raw[rep:rep+def], bits.Len(uint(p.levels.def)), int(h.NumValues), nil); err != nil {
			return err
		}
	}
	content := raw[rep+def:]
	if !h.IsCompressed.Valid || h.IsCompressed.V {
		var err error
		// The library makes room for the size of the whole page.
		if content, err = p.unpack(content, size); err != nil {
			return err
		}
	}
	return p.rowAndValues(h.Encoding, content, int(h.NumValues))
}

// see counts the values of a row by their repetition levels: 0 begins a row.
func (p *pageCheck) see(level, n int) {
	if level == 0 {
		p.row = 1
		return
	}
	p.row += n
	p.longest = max(p.longest, p.row)
}

func (p *pageCheck) rowAndValues(e format.Encoding, content []byte, n int) error {
	if p.longest > p.limits.row {
		return fmt.Errorf("a row of %d values is over the limit of %d", p.longest, p.limits.row)
	}
	return p.values(e, content, n)
}

// values checks encodings in which few bytes stand for many values.
func (p *pageCheck) values(e format.Encoding, content []byte, n int) error {
	switch e {
	case format.PlainDictionary, format.RLEDictionary:
		if len(content) == 0 {
			return nil
		}
		if content[0] > 32 {
			return errPage
		}
		return p.runs(content[1:], int(content[0]), n, nil)
	case format.RLE:
		if len(content) < 4 {
			return nil
		}
		return p.runs(content[4:], 1, n, nil)
	case format.DeltaBinaryPacked, format.DeltaLengthByteArray:
		return deltaCount(content, n)
	case format.DeltaByteArray:
		return p.prefixes(content, n)
	}
	return nil
}

// prefixes adds up what texts repeat of the ones before them.
func (p *pageCheck) prefixes(content []byte, n int) error {
	if err := deltaCount(content, n); err != nil {
		return err
	}
	lengths, err := new(delta.BinaryPackedEncoding).DecodeInt32(nil, content)
	if err != nil {
		return errPage
	}
	total := int64(len(content))
	for _, l := range lengths {
		total += int64(max(l, 0))
	}
	p.largest = max(p.largest, total)
	if total > p.limits.bytes {
		return fmt.Errorf("a page of %d bytes of text is over the limit of %d", total, p.limits.bytes)
	}
	return nil
}

// deltaCount reads how many values a delta encoding announces: its third number.
func deltaCount(content []byte, n int) error {
	var count uint64
	for range 3 {
		v, k := binary.Uvarint(content)
		if k <= 0 {
			return nil // the library refuses it
		}
		count, content = v, content[k:]
	}
	if count > uint64(n) {
		return fmt.Errorf("a page announces %d values and encodes %d", n, count)
	}
	return nil
}

// runs goes through runs of values of so many bits, equal ones or packed ones in
// groups of eight, of which there should be n. See, which may be nil, hears of the
// values in order.
func (p *pageCheck) runs(content []byte, width, n int, see func(value, n int)) error {
	most := uint64(n) + 512 // the last group is filled up
	var total uint64
	for len(content) > 0 {
		head, k := binary.Uvarint(content)
		if k <= 0 {
			return errPage
		}
		content = content[k:]
		count := head >> 1
		packed := head&1 == 1
		if packed {
			count = min(count, 1<<40) * 8
		}
		if total += min(count, 1<<40); total > most {
			return fmt.Errorf("a page announces %d values and encodes more", n)
		}
		size := (width + 7) / 8
		if packed {
			size = int(count) * width / 8
		}
		if size > len(content) {
			return nil // the library refuses it
		}
		if see != nil {
			seeRun(content[:size], width, int(count), packed, see)
		}
		content = content[size:]
	}
	return nil
}

// seeRun reads the values of a run, of at most 8 bits each.
func seeRun(run []byte, width, count int, packed bool, see func(value, n int)) {
	if !packed {
		see(int(run[0]), count)
		return
	}
	for i := range count {
		at := i * width
		pair := uint(run[at/8])
		if at/8+1 < len(run) {
			pair |= uint(run[at/8+1]) << 8
		}
		see(int(pair>>(at%8))&(1<<width-1), 1)
	}
}
