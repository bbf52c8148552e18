package cpu

const (
	tileEdge = 16 // rows of a tile, and words of a row
	tileStep = 32 // values of the depth in a tile
	tilePair = 2 * tileEdge
)

// tileUnit is what multiplies tiles of bfloat16, where anything does.
type tileUnit int

const (
	noTiles  tileUnit = iota
	amxTiles          // the processor's own (TDPBF16PS)
	dotTiles          // its products of pairs in vectors (VDPBF16PS)
)

// headTiles are keys and values of one head of a sequence as tiles take them: keys as
// tiles [places/16, depth/32] of [16 pairs of values, 16 keys], values as tiles [depth/16,
// places/32] of [16 pairs of keys, 16 values]. What is missing is zero.
type headTiles struct {
	keys, values  []uint16
	places, depth int // of which places is a multiple of queryTile, depth of 32
}

// put sets key and value [depth] of a place.
func (x *headTiles) put(place int, key, value []uint16) {
	at := x.keys[place/tileEdge*tileEdge*x.depth+place%tileEdge*2:]
	for j := 0; j < x.depth; j += 2 {
		at[j*tileEdge], at[j*tileEdge+1] = key[j], key[j+1]
	}
	at = x.values[x.valueAt(place):]
	for j := range x.depth {
		at[j/tileEdge*tileEdge*x.places+j%tileEdge*2] = value[j]
	}
}

// forget empties the value of a place.
func (x *headTiles) forget(place int) {
	at := x.values[x.valueAt(place):]
	for j := range x.depth {
		at[j/tileEdge*tileEdge*x.places+j%tileEdge*2] = 0
	}
}

// valueAt is where the value of a place begins.
func (x *headTiles) valueAt(place int) int { return place/2*tilePair + place%2 }

// headDepth is HeadDim rounded up to what a tile has of the depth.
func headDepth(headDim int) int { return roundUp(headDim, tileStep) }
