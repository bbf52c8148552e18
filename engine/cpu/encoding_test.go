//go:build goexperiment.simd && amd64 && linux

package cpu

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/internal/testkit"
)

// TestEncoding reads the machine code of the vector kernels: while the upper halves of
// registers are in use there is no instruction of the old encoding, which some
// processors take hundreds of cycles for (see simd512.go).
// It goes by the order in which code lies, not by the one in which it runs.
func TestEncoding(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector's calls lie between vector instructions")
	}
	objdump, err := exec.LookPath("objdump")
	if err != nil {
		t.Skip("needs objdump of binutils")
	}
	binary := os.Args[0] // os.Executable may be a loader
	takesVectors := functionsOfVectors(t)
	kernels := reflect.ValueOf(exp256).Pointer()
	lo, hi := packageText(kernels)
	out, err := exec.Command(objdump, "-d", "--no-show-raw-insn", fmt.Sprintf("--start-address=%d", lo), fmt.Sprintf("--stop-address=%d", hi), binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	old := regexp.MustCompile(`^((x|p)?x?orp?[sd]?|pxor|por|mov([sd]|up|ap)[sd]|mov[qd]|movdq[ua]|(add|sub|mul|div|sqrt|max|min|u?comi)[sp][sd]|cvt\w+|and[n]?p[sd]|(shuf|unpck[lh])p[sd])\b.*%xmm`)
	instruction := regexp.MustCompile(`^ *([0-9a-f]+):\s+(.*)`)
	name, inUse, seen := "", false, 0
	for scan := bufio.NewScanner(bytes.NewReader(out)); scan.Scan(); {
		m := instruction.FindStringSubmatch(scan.Text())
		if m == nil {
			continue
		}
		pc, _ := strconv.ParseUint(m[1], 16, 64)
		if now := functionAt(uintptr(pc)); now != name {
			name, inUse = now, takesVectors[now]
		}
		if !strings.HasSuffix(name, "256") && !strings.HasSuffix(name, "512") && name != "transpose" {
			continue
		}
		switch code := m[2]; {
		case strings.HasPrefix(code, "vzeroupper"):
			inUse = false
		case strings.HasPrefix(code, "v") && (strings.Contains(code, "%ymm") || strings.Contains(code, "%zmm")):
			inUse = true
			seen++
		case inUse && old.MatchString(code):
			file, line := runtime.FuncForPC(uintptr(pc)).FileLine(uintptr(pc))
			t.Errorf("%s:%d: %s has %q between vector instructions", file[strings.LastIndexByte(file, '/')+1:], line, name, code)
		}
	}
	if seen < 600 {
		t.Errorf("saw %d vector instructions: not the kernels", seen)
	}
}

// functionsOfVectors are those whose arguments are vectors already.
func functionsOfVectors(t *testing.T) map[string]bool {
	found := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func (?:\(.*?\) )?(\w+)\([^)]*(?:vec256|vec512|archsimd\.)`)
	for _, file := range []string{"simd256.go", "simd_back256.go", "gemm256.go", "simd512.go", "simd512_only.go", "simd_back512.go", "gemm512.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range declaration.FindAllSubmatch(source, -1) {
			found[string(m[1])] = true
		}
	}
	return found
}

// packageText is where the code of the package that has pc begins and ends.
func packageText(pc uintptr) (lo, hi uintptr) {
	inside := func(pc uintptr) bool { return functionAt(pc) != "" }
	const step = 16
	for lo = pc; inside(lo - step); lo -= step {
	}
	for hi = pc; inside(hi); hi += step {
	}
	return lo, hi
}

// functionAt is the name of the function that has pc, which may be another's that
// it was made part of; "" outside the package.
func functionAt(pc uintptr) string {
	f := runtime.FuncForPC(pc)
	if f != nil {
		f = runtime.FuncForPC(f.Entry())
	}
	if f == nil {
		return ""
	}
	_, name, _ := strings.Cut(f.Name(), "engine/cpu.")
	return name
}
