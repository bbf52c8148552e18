package cpu

const headEdge = 16 // rows of a tile, and pairs of a row

// headTiles are keys and values of one head of a sequence as tiles take them: keys as
// tiles [places/16, depth/32] of [16 pairs of values, 16 keys], values as tiles [depth/16,
// places/32] of [16 pairs of keys, 16 values]. What is missing is zero.
type headTiles struct {
	keys, values  []uint16
	places, depth int // of which places is a multiple of queryTile, depth of 32
}

// put sets key and value [depth] of a place.
func (x *headTiles) put(place int, key, value []uint16) {
	at := x.keys[place/headEdge*headEdge*x.depth+place%headEdge*2:]
	for j := 0; j < x.depth; j += 2 {
		at[j*headEdge], at[j*headEdge+1] = key[j], key[j+1]
	}
	at = x.values[x.valueAt(place):]
	for j := range x.depth {
		at[j/headEdge*headEdge*x.places+j%headEdge*2] = value[j]
	}
}

// forget empties the value of a place.
func (x *headTiles) forget(place int) {
	at := x.values[x.valueAt(place):]
	for j := range x.depth {
		at[j/headEdge*headEdge*x.places+j%headEdge*2] = 0
	}
}

// valueAt is where the value of a place begins.
func (x *headTiles) valueAt(place int) int { return place/2*32 + place%2 }

// headDepth is HeadDim rounded up to what a tile has of the depth.
func headDepth(headDim int) int { return roundUp(headDim, 32) }
