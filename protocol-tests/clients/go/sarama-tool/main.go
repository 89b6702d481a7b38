// sarama.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"ottla-other-clients/commandline"
)

func main() {
	commandline.Run(commandline.Client{Produce: produce, Consume: consume, Admin: admin})
}

func produce(bootstrap, topic, codec string, idempotent bool, letters []commandline.Letter) error {
	config := sarama.NewConfig()
	if err := config.Producer.Compression.UnmarshalText([]byte(codec)); err != nil {
		return err
	}
	config.Producer.Return.Successes = true // what a synchronous producer demands
	if idempotent {
		config.Producer.Idempotent = true
		config.Producer.RequiredAcks = sarama.WaitForAll
		config.Net.MaxOpenRequests = 1
	}
	producer, err := sarama.NewSyncProducer(strings.Split(bootstrap, ","), config)
	if err != nil {
		return err
	}
	messages := make([]*sarama.ProducerMessage, len(letters))
	for index, letter := range letters {
		key, value := sarama.StringEncoder(letter.Key), sarama.StringEncoder(letter.Value)
		messages[index] = &sarama.ProducerMessage{Topic: topic, Key: key, Value: value}
	}
	if err := producer.SendMessages(messages); err != nil {
		return err
	}
	for index, message := range messages {
		commandline.Say(commandline.Record{
			Partition: message.Partition, Offset: message.Offset, Key: letters[index].Key, Value: letters[index].Value,
		})
	}
	return producer.Close()
}

// member reads all that its claims bring. Setup and Cleanup tell which they are.
type member struct{ topic string }

func (m member) Setup(session sarama.ConsumerGroupSession) error {
	partitions := slices.Clone(session.Claims()[m.topic])
	slices.Sort(partitions)
	commandline.SayAssigned(partitions)
	return nil
}

func (member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			commandline.Say(commandline.Record{
				Partition: message.Partition, Offset: message.Offset, Key: string(message.Key), Value: string(message.Value),
			})
			session.MarkMessage(message, "")
			if len(claim.Messages()) == 0 {
				session.Commit()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func consume(running context.Context, bootstrap, topic, group string) error {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	consumer, err := sarama.NewConsumerGroup(strings.Split(bootstrap, ","), group, config)
	if err != nil {
		return err
	}
	for running.Err() == nil {
		if err := consumer.Consume(running, []string{topic}, member{topic}); err != nil && running.Err() == nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return consumer.Close()
}

func admin(bootstrap string) (func(commandline.Request) (any, error), error) {
	client, err := sarama.NewClusterAdmin(strings.Split(bootstrap, ","), sarama.NewConfig())
	if err != nil {
		return nil, err
	}
	return func(request commandline.Request) (any, error) {
		value, err := ask(client, request)
		return value, refused(err)
	}, nil
}

// refused is the error with its code, where the broker gave one.
func refused(err error) error {
	var topic *sarama.TopicError
	var partition *sarama.TopicPartitionError
	var code sarama.KError
	switch {
	case errors.As(err, &topic):
		return &commandline.Refused{Code: int16(topic.Err), Text: topic.Error()}
	case errors.As(err, &partition):
		return &commandline.Refused{Code: int16(partition.Err), Text: partition.Error()}
	case errors.As(err, &code):
		return &commandline.Refused{Code: int16(code), Text: code.Error()}
	}
	return err
}

func ask(client sarama.ClusterAdmin, request commandline.Request) (any, error) {
	switch request.Op {
	case "describe_cluster":
		return describeCluster(client)
	case "create_topic":
		detail := &sarama.TopicDetail{
			NumPartitions: request.Count(), ReplicationFactor: request.Replicas, ConfigEntries: map[string]*string{},
		}
		for name, value := range request.Config {
			detail.ConfigEntries[name] = &value
		}
		return nil, client.CreateTopic(request.Topic, detail, false)
	case "list_topics":
		topics, err := client.ListTopics()
		return sorted(topics), err
	case "describe_topic":
		return describeTopic(client, request.Topic)
	case "grow_topic":
		return nil, client.CreatePartitions(request.Topic, request.Count(), nil, false)
	case "topic_config":
		resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: request.Topic, ConfigNames: []string{request.Name}}
		entries, err := client.DescribeConfig(resource)
		if err != nil || len(entries) == 0 {
			return nil, err
		}
		return entries[0].Value, nil
	case "set_topic_config":
		change := sarama.IncrementalAlterConfigsEntry{
			Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &request.Value,
		}
		changes := map[string]sarama.IncrementalAlterConfigsEntry{request.Name: change}
		return nil, client.IncrementalAlterConfig(sarama.TopicResource, request.Topic, changes, false)
	case "delete_records":
		// sarama does not say where the partition begins then.
		err := client.DeleteRecords(request.Topic, map[int32]int64{request.Partition: request.Offset})
		return request.Offset, err
	case "delete_topic":
		return nil, client.DeleteTopic(request.Topic)
	case "list_groups":
		groups, err := client.ListConsumerGroups()
		return sorted(groups), err
	case "describe_group":
		return describeGroup(client, request.Group)
	case "group_offsets":
		return groupOffsets(client, request)
	case "delete_group_offsets":
		for _, partition := range request.List() {
			if err := client.DeleteConsumerGroupOffset(request.Group, request.Topic, partition); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case "delete_group":
		return nil, client.DeleteConsumerGroup(request.Group)
	}
	return nil, commandline.ErrUnsupported
}

func describeCluster(client sarama.ClusterAdmin) (any, error) {
	brokers, _, err := client.DescribeCluster()
	ids := []int32{}
	for _, broker := range brokers {
		ids = append(ids, broker.ID())
	}
	slices.Sort(ids)
	return ids, err
}

func describeTopic(client sarama.ClusterAdmin, topic string) (any, error) {
	described, err := client.DescribeTopics([]string{topic})
	if err != nil {
		return nil, err
	}
	if described[0].Err != sarama.ErrNoError {
		return nil, described[0].Err
	}
	partitions := make([]commandline.PartitionDescription, len(described[0].Partitions))
	for _, partition := range described[0].Partitions {
		partitions[partition.ID] = commandline.PartitionDescription{
			Leader: partition.Leader, Replicas: partition.Replicas, InSync: partition.Isr,
		}
	}
	return partitions, nil
}

func describeGroup(client sarama.ClusterAdmin, group string) (any, error) {
	described, err := client.DescribeConsumerGroups([]string{group})
	if err != nil {
		return nil, err
	}
	if described[0].Err != sarama.ErrNoError {
		return nil, described[0].Err
	}
	members := [][]int32{}
	for _, member := range described[0].Members {
		assignment, err := member.GetMemberAssignment()
		if err != nil {
			return nil, err
		}
		partitions := []int32{}
		if assignment != nil {
			for _, ofTopic := range assignment.Topics {
				partitions = append(partitions, ofTopic...)
			}
		}
		slices.Sort(partitions)
		members = append(members, partitions)
	}
	slices.SortFunc(members, slices.Compare)
	return commandline.GroupDescription{State: described[0].State, Members: members}, nil
}

func groupOffsets(client sarama.ClusterAdmin, request commandline.Request) (any, error) {
	found, err := client.ListConsumerGroupOffsets(request.Group, nil)
	if err != nil {
		return nil, err
	}
	if found.Err != sarama.ErrNoError {
		return nil, found.Err
	}
	offsets := map[string]int64{}
	for partition, block := range found.Blocks[request.Topic] {
		offsets[strconv.Itoa(int(partition))] = block.Offset
	}
	return offsets, nil
}

func sorted[V any](named map[string]V) []string {
	names := make([]string, 0, len(named))
	for name := range named {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
