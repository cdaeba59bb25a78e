"""Every error a user can meet; each message names the file, the fact and the fix."""

from pathlib import Path


class TumorlensError(Exception):
    """Something a user can mend: `subject` (a file or folder), `fact` and `fix`."""

    def __init__(self, subject: str | Path, fact: str, fix: str) -> None:
        self.subject, self.fact, self.fix = str(subject), fact, fix
        super().__init__(f"{self.subject}: {fact}. {fix}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        """Survive the way back from a worker process."""
        return type(self), (self.subject, self.fact, self.fix)


class ImageError(TumorlensError):
    """A scan that cannot be used; one such file is one row, never the end of a batch."""


class UnreadableImageError(ImageError):
    """The bytes are not a whole image of a format that is read here."""


class ImageTooLargeError(ImageError):
    """The file or its declared image is above the cap; nothing was allocated for it."""


class ImageTooSmallError(ImageError):
    """The image has too few pixels to hold a head."""


class BlankImageError(ImageError):
    """Nothing stands out from the background."""


class InvalidPixelsError(ImageError):
    """The pixels are not finite numbers."""


class CasesError(TumorlensError):
    """A folder or table of labeled scans that cannot be understood."""


class UnknownLabelError(CasesError):
    """Class names that stand in no table of known labels."""


class SplitError(TumorlensError):
    """A split that cannot be made, or that does not fit its cases."""


class LeakError(SplitError):
    """A split with copies or slices of one patient on both sides."""


class BundleError(TumorlensError):
    """A bundle that is missing, incomplete, altered, or of another schema."""


class ExecutorError(TumorlensError):
    """Workers that cannot be started or reached, or that are killed again and again."""


class StorageError(TumorlensError):
    """A disk or an object store that refuses, does not answer, or has no space left."""


class BatchError(TumorlensError):
    """A batch job that cannot be planned, run or proved whole."""


class OutputError(TumorlensError):
    """A place to write to that is taken, is read, or cannot be made."""


class ReportError(TumorlensError):
    """A report that cannot be written as it was asked for."""


class TrainingError(TumorlensError):
    """A training run that cannot start or go on."""


class SettingsError(TumorlensError):
    """A setting outside its range."""


class StudyError(TumorlensError):
    """A record of the bench that cannot be shown."""


class MissingExtraError(TumorlensError):
    """A command of the bench, in an installation made for prediction only."""


class MissingReaderError(ImageError, MissingExtraError):
    """A scan of a format whose libraries are not installed."""


class DownloadError(TumorlensError):
    """A data set that cannot be fetched, or whose archive is not the expected one."""


class ArchiveError(TumorlensError):
    """An archive that is damaged, unsafe to unpack, or not laid out as its data set is."""


class DocumentError(TumorlensError):
    """A JSON document of a prediction that cannot be read back."""


class StoreError(TumorlensError):
    """A store that cannot be opened, read or written."""


class StoreFullError(StoreError):
    """No space is left to write; what was acknowledged before is safe."""


class NotStoredError(StoreError):
    """Nothing under this id, or nothing that may be shown to who asks."""


class TooManyJobsError(TumorlensError):
    """As many unfinished batches as one owner may have."""


class ReviewError(TumorlensError):
    """A review that contradicts itself or names what is not known."""


class ApiKeyError(TumorlensError):
    """A key that cannot be made or ended as asked."""


class ServiceError(TumorlensError):
    """A service that refuses, or cannot be reached."""


class TrackingError(TumorlensError):
    """An experiment tracker that cannot open a run."""
