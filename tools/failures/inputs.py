"""Failures of what a job was given: its rows, its tokenizer, its model."""

from __future__ import annotations

from .kinds import LAST_FRAME, FailureClass

DATA = (
    FailureClass(
        name="nothing_to_learn",
        words="no row was left to learn from",
        advice="check which rows are kept, and max_length",
        raised=r"num_samples should be a positive integer value|num_samples=0|^StopIteration$",
        said=r"every label is masked \(-100\)",
    ),
    FailureClass(
        name="dataset_part",
        words="the dataset has no such split or subset",
        advice="name one that it has, as the message lists them",
        raised=r"Unknown split \"|BuilderConfig '?.*'? ?not found|Config name is missing|Bad split: ",
    ),
    FailureClass(
        name="dataset_script",
        words="the dataset is loaded by a script, which `datasets` no longer runs",
        advice='use its Parquet branch (`revision="refs/convert/parquet"`), or another dataset',
        raised=r"Dataset scripts are no longer supported",
    ),
    FailureClass(
        name="broken_rows",
        words="some rows cannot be read",
        advice="call validate_dataset again: it names the rows",
        raised=r"DatasetGenerationError|DatasetGenerationCastError|DataFilesNotFoundError|ArrowInvalid|JSONDecodeError"
        r"|CSV parse error|Error tokenizing data",
        wraps=True,
    ),
    FailureClass(
        name="missing_column",
        words="the trainer misses a column",
        advice="call validate_dataset again: the dataset has changed since, or the mapping of this run is not for it",
        raised=r"^(KeyError: ['\"]|KeyError: Caught KeyError in DataLoader)|Column name .* not in the dataset"
        r"|Column '.*' doesn't exist|column names .* (don't|do not) match|Column to remove .* not in the dataset",
        frames=rf'(/(datasets|trl)/[^"]*", line \d+, in .*|/train\.py", line \d+, in (<lambda>|__getitem__|\w*map\w*)){LAST_FRAME}',
    ),
)

MODELS = (
    FailureClass(
        name="chat_template",
        words="the tokenizer's chat template does not take these chats",
        advice="train on an instruct model, or on plain prompts and completions",
        raised=r"chat_template is not set|jinja2\.exceptions\.\w+|Conversation roles must alternate|\{% generation %\}"
        r"|assistant_masks|return_assistant_tokens_mask|chat template",
    ),
    FailureClass(
        name="padding_token",
        words="the tokenizer has no padding token",
        advice="choose a model whose tokenizer has one",
        raised=r"does not have a padding token",
    ),
    FailureClass(
        name="token_range",
        words="the tokenizer has tokens that the model has no weights for",
        advice="use the model's own tokenizer",
        raised=r"CUDA error: device-side assert triggered|index out of range in self|srcIndex < srcSelectDimSize",
        said=r"\S*Indexing\.cu:\d+: .* Assertion `",
    ),
    FailureClass(
        name="adapter_targets",
        words="the adapter finds no layer to attach to",
        advice="let LoRA go onto all linear layers",
        raised=r"Target modules .* not found in the base model|No modules were targeted for adaptation"
        r"|Please specify `target_modules`",
    ),
    FailureClass(
        name="unknown_architecture",
        words="the installed transformers does not know this architecture",
        advice="upgrade transformers, or choose another model",
        raised=r"does not recognize this architecture|Unrecognized (model in|configuration class)",
    ),
    FailureClass(
        name="remote_code",
        words="the model's repository wants to run code of its own",
        advice="read that code; ftagent does not run it",
        raised=r"trust_remote_code=True|requires you to execute the",
    ),
    FailureClass(
        name="tied_weights",
        words="weights that are shared cannot be saved apart",
        advice="save with `save_pretrained`, which knows what is tied",
        raised=r"Some tensors share memory|shared tensors .* mismatch|removed shared tensor",
    ),
    FailureClass(
        name="broken_model",
        words="files of the model are missing or damaged",
        advice="remove the model's folder from the cache (`hf cache rm`), so that it is downloaded anew",
        raised=r"no file named .*(safetensors|bin)|SafetensorError: Error while deserializing|(Header|header) ?(TooLarge|too large)"
        r"|InvalidHeader|MetadataIncompleteBuffer|Can't load tokenizer for|Couldn't instantiate the backend tokenizer"
        r"|Unable to load weights from|Can't load the configuration of",
    ),
)
