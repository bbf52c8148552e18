//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"time"

	"github.com/coppice-ml/coppice/engine"
)

// Tuning is what tests change of an engine.
type Tuning struct {
	Patience time.Duration
	Pooled   bool                    // share memory as outside tests, without spoiling what is given back
	Edit     func(map[string]string) // changes the kernels' source
	Staged   int                     // bytes of a staging buffer
	Unwaited bool                    // streams do not wait for each other
	Unprobed bool                    // products use what the library likes best
}

// Start starts an engine as tests want it: every buffer of its very size and spoilt
// when given back, few rows probed.
func Start(o Options, t Tuning) (engine.Engine, error) {
	u := defaults()
	u.repeats, u.exact, u.unwaited, u.unprobed = 1, !t.Pooled, t.Unwaited, t.Unprobed
	u.staged = 1 << 20
	if t.Patience > 0 {
		u.patience = t.Patience
	}
	if t.Staged > 0 {
		u.staged = t.Staged
	}
	if t.Edit != nil {
		u.edit = func(p *program) { t.Edit(p.files) }
	}
	return start(o, u)
}
