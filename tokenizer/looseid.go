package tokenizer

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/internal/pyjson"
)

// looseID is a token id that may be written as a float or as a string, as other programs write numbers.
type looseID int

func (n *looseID) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v != math.Trunc(v) || math.Abs(v) > 1<<40 {
		return fmt.Errorf("%.40s is no token id", data)
	}
	*n = looseID(v)
	return nil
}

// readJSON reads JSON as Python writes it, with errors that speak of JSON.
func readJSON(data []byte, into any) error { return pyjson.Explain(pyjson.Unmarshal(data, into)) }
