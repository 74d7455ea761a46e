"""Off-site copies of archives by rclone: made, verified, found again; it knows no retention rule."""
