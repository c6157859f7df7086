// SPDX-License-Identifier: GPL-3.0-or-later

// Checks what this project exports with golang.org/x/mod/sumdb/{note,tlog}, which share no code with it.
//
//	check tiles FOLDER VKEY             checkpoint, every hash tile, every entry; prints size and root
//	check receipt FILE VKEY             a tlog-proof whose extra line is the entry; prints index and size
//	check extension PROOF OLD VKEY...   that PROOF's checkpoint extends the checkpoint in OLD
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return errors.New("usage: check tiles|receipt|extension …")
	}
	switch args[0] {
	case "tiles":
		return tiles(args[1], args[2])
	case "receipt":
		return receipt(args[1], args[2])
	case "extension":
		return extension(args[1], args[2], args[3:])
	}
	return fmt.Errorf("unknown check %q", args[0])
}

// opened is the tree of a checkpoint signed by one of the keys, under the name of that key.
func opened(signed []byte, vkeys []string) (tlog.Tree, error) {
	var verifiers []note.Verifier
	for _, vkey := range vkeys {
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			return tlog.Tree{}, err
		}
		verifiers = append(verifiers, verifier)
	}
	found, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(found.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != verifiers[0].Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

// folder reads hash tiles by the paths of C2SP tlog-tiles, which name no height.
type folder string

func (f folder) Height() int { return 8 }

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f folder) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		data, err := os.ReadFile(f.path(strconv.Itoa(tile.L), tile.N, tile.W))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (f folder) path(level string, n int64, width int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	if width < 256 {
		path = fmt.Sprintf("%s.p/%d", path, width)
	}
	return filepath.Join(string(f), "tile", level, path)
}

func tiles(dir, vkey string) error {
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := opened(signed, []string{vkey})
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, folder(dir))
	for start := int64(0); start < tree.N; start += 256 {
		width := tree.N - start
		if width > 256 {
			width = 256
		}
		data, err := os.ReadFile(folder(dir).path("entries", start/256, int(width)))
		if err != nil {
			return err
		}
		for at := start; at < start+width; at++ {
			if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
				return fmt.Errorf("the bundle ends inside entry %d", at)
			}
			length := int(binary.BigEndian.Uint16(data))
			// TileHashReader checks each tile against the tree before it gives a hash of it.
			hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, at)})
			if err != nil {
				return err
			}
			if tlog.RecordHash(data[2:2+length]) != hashes[0] {
				return fmt.Errorf("entry %d is not the one in the tree", at)
			}
			data = data[2+length:]
		}
		if len(data) != 0 {
			return fmt.Errorf("more than %d entries in the bundle of entry %d", width, start)
		}
	}
	fmt.Println(tree.N, tree.Hash)
	return nil
}

// parts are the head lines of a proof file and the checkpoint under them.
func parts(file string) ([]string, []byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	head, checkpoint, found := bytes.Cut(data, []byte("\n\n"))
	if !found {
		return nil, nil, errors.New("no checkpoint in the file")
	}
	return strings.Split(string(head), "\n"), checkpoint, nil
}

func hashes(lines []string) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		all = append(all, hash)
	}
	return all, nil
}

func receipt(file, vkey string) error {
	lines, checkpoint, err := parts(file)
	if err != nil {
		return err
	}
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "extra ") {
		return errors.New("not a tlog-proof with an extra line")
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	proof, err := hashes(lines[3:])
	if err != nil {
		return err
	}
	tree, err := opened(checkpoint, []string{vkey})
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return err
	}
	fmt.Println(index, tree.N)
	return nil
}

func extension(file, oldFile string, vkeys []string) error {
	lines, checkpoint, err := parts(file)
	if err != nil {
		return err
	}
	proof, err := hashes(lines[1:])
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(oldFile)
	if err != nil {
		return err
	}
	old, err := opened(signed, vkeys)
	if err != nil {
		return err
	}
	tree, err := opened(checkpoint, vkeys)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return err
	}
	fmt.Println(old.N, tree.N)
	return nil
}
