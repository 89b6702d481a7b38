// Package commandline is the command line that the programs over Go's clients share: see clients/README.md.
package commandline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Letter is a record to write.
type Letter struct{ Key, Value string }

// Record is a record that was written or read.
type Record struct {
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Key       string `json:"key"`
	Value     string `json:"value"`
}

// Request is one of `admin`: the fields that its operation has.
type Request struct {
	Op         string            `json:"op"`
	Topic      string            `json:"topic"`
	Group      string            `json:"group"`
	Name       string            `json:"name"`
	Value      string            `json:"value"`
	Config     map[string]string `json:"config"`
	Replicas   int16             `json:"replicas"`
	Partition  int32             `json:"partition"`
	Offset     int64             `json:"offset"`
	Partitions json.RawMessage   `json:"partitions"`
}

// Count is how many partitions are asked for.
func (r Request) Count() int32 {
	var count int32
	Must(json.Unmarshal(r.Partitions, &count))
	return count
}

// List is which partitions are asked for.
func (r Request) List() []int32 {
	var list []int32
	Must(json.Unmarshal(r.Partitions, &list))
	return list
}

// PartitionDescription is what is told of a partition.
type PartitionDescription struct {
	Leader   int32   `json:"leader"`
	Replicas []int32 `json:"replicas"`
	InSync   []int32 `json:"in_sync"`
}

// GroupDescription is what is told of a group: its state, and the partitions of each member.
type GroupDescription struct {
	State   string    `json:"state"`
	Members [][]int32 `json:"members"`
}

// Refused is an error that the broker answered.
type Refused struct {
	Code int16
	Text string
}

func (r *Refused) Error() string { return r.Text }

// ErrUnsupported says that the client does not have an operation.
var ErrUnsupported = errors.New("unsupported")

// Client is what a program has to do.
type Client struct {
	Produce func(bootstrap, topic, codec string, idempotent bool, letters []Letter) error
	// Consume ends when the context does.
	Consume func(running context.Context, bootstrap, topic, group string) error
	Admin   func(bootstrap string) (func(Request) (any, error), error)
}

var output sync.Mutex

// Say prints a value on a line of its own.
func Say(value any) {
	text, err := json.Marshal(value)
	Must(err)
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(text))
}

// SayAssigned prints which partitions the member has.
func SayAssigned(partitions []int32) {
	if partitions == nil {
		partitions = []int32{}
	}
	Say(map[string]any{"assigned": partitions})
}

// Must ends the program where something went wrong.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Run does what the command line says.
func Run(client Client) {
	var arguments []string
	idempotent := false
	for _, argument := range os.Args[1:] {
		if argument == "--idempotent" {
			idempotent = true
		} else {
			arguments = append(arguments, argument)
		}
	}
	if len(arguments) < 2 {
		Must(errors.New("see clients/README.md"))
	}
	command, bootstrap, rest := arguments[0], arguments[1], arguments[2:]
	switch {
	case command == "produce" && len(rest) > 2:
		count, err := strconv.Atoi(rest[1])
		Must(err)
		for _, codec := range rest[2:] {
			Must(client.Produce(bootstrap, rest[0], codec, idempotent, letters(codec, count)))
		}
	case command == "consume" && len(rest) == 2:
		told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		Must(client.Consume(told, bootstrap, rest[0], rest[1]))
	case command == "admin":
		ask, err := client.Admin(bootstrap)
		Must(err)
		for _, request := range rest {
			answer(ask, request)
		}
	default:
		Must(errors.New("see clients/README.md"))
	}
}

// letters are the records to write: the same key often enough, and values that are worth compressing.
func letters(codec string, count int) []Letter {
	letters := make([]Letter, count)
	for number := range letters {
		letters[number] = Letter{
			Key:   fmt.Sprintf("%s-%d", codec, number%50),
			Value: fmt.Sprintf("letter %d, %s: %s", number, codec, strings.Repeat("Dear Ottla, ", 8)),
		}
	}
	return letters
}

func answer(ask func(Request) (any, error), text string) {
	var request Request
	Must(json.Unmarshal([]byte(text), &request))
	value, err := ask(request)
	var refused *Refused
	switch {
	case err == nil:
		Say(map[string]any{"ok": value})
	case errors.Is(err, ErrUnsupported):
		Say(map[string]any{"unsupported": true})
	case errors.As(err, &refused):
		Say(map[string]any{"error": refused.Code, "text": refused.Text})
	default:
		Say(map[string]any{"error": nil, "text": err.Error()})
	}
}
