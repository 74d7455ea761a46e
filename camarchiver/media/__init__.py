"""ffmpeg and PyAV: encoders, arguments, probing, verification. It knows nothing of trees and policies."""
