"""What a job imports before its first step, torch and Lightning with it: seconds, which its workers share."""

import sentiment.data.build
import sentiment.models.recurrent
import sentiment.models.transformer
import sentiment.tracking.recorder
import sentiment.training.run  # noqa: F401
from sentiment.job.identity import digest_code

digest_code()  # workers that are forked from here have this code, whatever its files are by then
